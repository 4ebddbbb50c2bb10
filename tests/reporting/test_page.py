"""The page of a study: what a reader sees, and that nothing in it can do harm."""

import pandas as pd
import pytest

from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.reporting.page import Column, Drawn, Section, Table, flat, write_page
from knowledge_transfer.reporting.style import sheet

FACTS = {
    "pipeline": "alpha_study",
    "environment": "base",
    "started": 1_700_000_000.0,
    "git_commit": "abc1234",
    "machine": "two cores",
    "versions": {"torch": "2.15"},
}
DATA = {
    "class_names": ["a", "b"],
    "shape": [1, 32, 32],
    "images": {"training": 1200, "validation": 20, "test": 30},
    "dropped_because_in_test_set": 3,
}


def page(*sections: Section, lead: tuple[str, ...] = ("It works.",)) -> str:
    return write_page(
        "What it does", lead, sections, sources={"digits": DATA}, run_info=FACTS, parameters={"seed": 0, "sets": {}}
    )


@pytest.mark.parametrize(
    ("column", "row", "text"),
    [
        (Column("a", "A"), {"a": "word"}, "word"),
        (Column("a", "A", "prose"), {"a": "some words"}, "some words"),
        (Column("a", "A", "percent"), {"a": 0.1234}, "12.3"),
        (Column("a", "A", "percent", "e"), {"a": 0.1234, "e": 0.004}, "12.3 ± 0.4"),
        (Column("a", "A", "percent", "e"), {"a": 0.1234, "e": float("nan")}, "12.3"),
        (Column("a", "A", "points", "e"), {"a": -0.0123, "e": 0.004}, "−1.2 ± 0.4"),
        (Column("a", "A", "points"), {"a": -0.0001}, "0.0"),
        (Column("a", "A", "points"), {"a": 0.0123}, "+1.2"),
        (Column("a", "A", "p"), {"a": 0.0001}, "<\N{NO-BREAK SPACE}0.001"),
        (Column("a", "A", "count"), {"a": 12345.0}, "12,345"),
        (Column("a", "A", "number"), {"a": 0.5}, "0.500"),
        (Column("a", "A", "short"), {"a": 0.50}, "0.5"),
        (Column("a", "A", "count"), {"a": None}, "–"),
        (Column("a", "A", "percent"), {"a": float("nan")}, "–"),
    ],
)
def test_cells_are_written_as_their_column_says(column, row, text):
    assert column.write(row) == text


def test_a_page_holds_its_sentences_tables_and_figures():
    with sheet(2, 2) as figure:
        figure.subplots().plot([0, 1], [0, 1], label="$1")
    columns = [Column("arm", "arm"), Column("right", "right %", "percent")]
    table = Table(pd.DataFrame({"arm": ["one"], "right": [0.5]}), columns)
    text = page(Section("Outcome", ["A paragraph."], [Drawn("curve", figure, "The caption.")], [table]))
    for part in ("What it does", "It works.", "Outcome", "A paragraph.", "The caption.", "<td>one</td>"):
        assert part in text
    assert '<td class="number">50.0</td>' in text
    assert "<svg" in text
    assert "kedro run --pipelines=alpha_study --env=base" in text
    assert "git checkout abc1234" in text
    assert "training set 1,200, validation set 20, test set 30 images" in " ".join(text.split())


def test_pages_escape_names_and_fetch_nothing():
    table = Table(pd.DataFrame({"a": ["<b>"]}), [Column("a", "<i>")])
    text = page(Section("<script>alert(1)</script>", tables=[table]))
    assert "<script" not in text
    assert "&lt;b&gt;" in text
    assert "<i>" not in text
    assert "default-src 'none'" in text
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/", "")


def test_figures_of_one_page_share_no_ids():
    figures = []
    for name in ("first", "second"):
        with sheet(2, 2) as figure:
            figure.subplots().plot([0, 1], [0, 1])
        figures.append(Drawn(name, figure, ""))
    ids = [[part.split('"')[0] for part in drawn.svg.split(' id="')[1:]] for drawn in figures]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])


def test_parameters_are_spelt_as_on_the_command_line():
    nested = {"alpha_study": {"sets": {"digits": {"recipe": Recipe(views=2)}}, "alphas": [0, 1]}, "empty": {}}
    leaves = dict(flat(nested))
    assert leaves["alpha_study.sets.digits.recipe.views"] == "2"
    assert leaves["alpha_study.sets.digits.recipe.optimizer"] == "sgd"
    assert leaves["alpha_study.alphas"] == "[0, 1]"
    assert leaves["empty"] == "{}"
