"""The page of the study student_ensemble."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from knowledge_transfer.experiment.study_tables import Page, table_of
from knowledge_transfer.pipelines.student_ensemble import figures
from knowledge_transfer.pipelines.student_ensemble import summary_text as text
from knowledge_transfer.pipelines.student_ensemble.settings import (
    ALL,
    BOOSTED,
    BOOSTED_MEAN,
    CHOSEN,
    EQUAL,
    EQUAL_VOTE,
    ON_LABELS,
    STUDENT,
    TEACHER,
)
from knowledge_transfer.reporting.formats import GAP, percent, plus_minus, points
from knowledge_transfer.reporting.page import Drawn, Section, Table
from knowledge_transfer.reporting.statistics import over_seeds


def compose_page(arms: pd.DataFrame, sets: Mapping[str, Mapping[str, pd.DataFrame]]) -> Page:
    """Return the study's page; of each of the `sets` it takes sizes, singles, rules, and what it has of the others."""
    sections = [_arms_section(arms)]
    for name, own in sets.items():
        sections += _sections_of(name, own)
    return Page(
        "One teacher, one student, or many tiny ones",
        [sentence for name in sets for sentence in _lead(name, arms[arms["data"] == name])],
        [*sections, Section("The published study", text=text.SOURCE)],
    )


def _arms_section(arms: pd.DataFrame) -> Section:
    once = arms.drop_duplicates(["data", "arm"])
    theirs: list[Any] = [
        text.PUBLISHED.get(row["data"], {}).get(row["arm"], (None, None)) for row in once.to_dict("records")
    ]
    once = _with_names(once).assign(
        size=[f"{members:.3g}" for members in once["members"]],
        published=[accuracy for accuracy, _ in theirs],
        published_parameters=[count for _, count in theirs],
    )
    tables = [Table(once, text.ARMS_COLUMNS, text.ARMS_NOTE)]
    if len(beside := once[once["published"].notna()]):
        tables.append(Table(beside, text.BESIDE_COLUMNS, "The published figures beside ours."))
    note = "Paired by seed; p is Student's. A gain within its error is none."
    tables.append(table_of(_with_names(arms[arms["against"].notna()]), text.DIFFERENCES_COLUMNS, note))
    return Section("Every arm", tables=tables)


def _sections_of(name: str, own: Mapping[str, pd.DataFrame]) -> Iterator[Section]:
    """Yield the sections of one data set."""
    front = figures.pareto_front(own["sizes"], own["singles"])
    published = figures.draw_published(name, own["sizes"], own["singles"])
    drawn = [Drawn(f"sizes_{name}", figures.draw_sizes(own["sizes"], own["singles"]), text.SIZES_CAPTION)]
    drawn += [] if published is None else [Drawn(f"published_{name}", published, text.PUBLISHED_CAPTION, is_small=True)]
    yield Section(
        f"{name}: how many members, how many parameters", figures=drawn, tables=[Table(front, text.FRONT_COLUMNS)]
    )
    yield Section(
        f"{name}: how members are fused",
        tables=[Table(_rules_side_by_side(own["rules"]), text.RULES_COLUMNS, text.RULES_NOTE)],
    )
    if "sweep" in own:
        yield Section(
            f"{name}: temperature and weight of the losses",
            figures=[Drawn(f"sweep_{name}", figures.draw_sweep(own["sweep"]), text.SWEEP_CAPTION)],
            tables=[table_of(own["points"], text.POINTS_COLUMNS, text.POINTS_NOTE)],
        )
    if "votes" in own:
        yield Section(
            f"{name}: boosting",
            figures=[Drawn(f"votes_{name}", figures.draw_votes(own["votes"]), text.VOTES_CAPTION, is_small=True)],
        )


def _rules_side_by_side(rules: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each rule, best first on validation, with the chosen members and all of them side by side."""
    taught = rules[(rules["ensemble"].isin([CHOSEN, ALL])) & ~rules["arm"].str.endswith(ON_LABELS)]
    means = over_seeds(taught, ["ensemble", "rule"], ["validation", "test", "nll"])
    parts = [means[means["ensemble"] == each].set_index("rule").add_prefix(f"{each}_") for each in (CHOSEN, ALL)]
    both = pd.concat(parts, axis=1).reset_index()
    return both.sort_values(f"{CHOSEN}_validation", ascending=False, kind="stable")


def _with_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the arms' names for readers."""
    table = table.copy()
    for column in {"arm", "against"} & set(table.columns):
        table[column] = [_name(each) for each in table[column]]
    return table


def _name(arm: str | None) -> str | None:
    if not isinstance(arm, str):
        return None
    bare = arm.removesuffix(ON_LABELS)
    return text.NAMES.get(bare, bare) + (ON_LABELS if arm.endswith(ON_LABELS) else "")


def _lead(name: str, arms: pd.DataFrame) -> Iterator[str]:
    """Yield the main findings on one data set."""
    rows = {row["arm"]: row for row in arms.drop_duplicates("arm").to_dict("records")}
    teacher, student, chosen = rows[TEACHER], rows[STUDENT], rows[CHOSEN]
    yield (
        f"{name}: {chosen['members']:.3g} tiny students (k by validation, mean over seeds) are right on "
        f"{_share(chosen)} of the test images with {chosen['parameters']:,.0f} parameters in all; the one student on "
        f"{_share(student)} with {student['parameters']:,.0f}, the teacher on {_share(teacher)} with "
        f"{teacher['parameters']:,.0f}."
    )
    against = {(row["arm"], row["against"]): row for row in arms.to_dict("records")}
    differences = [
        f"{words} {points(row['difference'])} ± {percent(row['standard_error'])} points ({row['verdict']})"
        for pair, words in (
            ((CHOSEN, STUDENT), "the chosen ensemble beyond the one student:"),
            ((CHOSEN, CHOSEN + ON_LABELS), "the taught ensemble beyond the one that learned from labels alone:"),
            ((BOOSTED, EQUAL_VOTE), "boosting, by SAMME's vote, beyond the plurality of as many equal members:"),
            ((BOOSTED_MEAN, EQUAL), "both by the mean of probabilities:"),
        )
        if (row := against.get(pair)) is not None and not pd.isna(row["standard_error"])
    ]
    if differences:
        yield f"{name}, differences: {'; '.join(differences)}."


def _share(row: dict[str, Any]) -> str:
    return f"{percent(row['test'])}{plus_minus(row['test_error'])}{GAP}%"
