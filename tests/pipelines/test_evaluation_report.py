"""The report and its figures: honest text, nothing fetched, nothing that a class name can break."""

import re
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from knowledge_transfer.experiment.stage_config import Student
from knowledge_transfer.pipelines.evaluation import comparisons, figures, report, summary_text
from knowledge_transfer.pipelines.evaluation.overview_figure import draw_before_and_after
from knowledge_transfer.pipelines.evaluation.report import write_report
from knowledge_transfer.reporting.columns import records
from knowledge_transfer.reporting.style import inline_svg

NASTY = ["<script>alert(1)</script>", '$x_1$ & "quotes"', "--><b>"]


WARNING = "answers one class for every image: 10.0 % right on validation, chance 10.0 %"


def metrics(rounds: int = 1) -> pd.DataFrame:
    def rows(model, stage, wanted, of=None, arm=None):
        return [
            {"model": model, "stage": "before" if stage == "after" and round_ == 0 else stage, "round": round_,
             "of": of or model, "arm": arm, "domain": "all", "images": 1000, "joint_accuracy": 0.9 + round_ / 100,
             "accuracy": 0.9 + round_ / 100, "standard_error": 0.01, "nll": None if "plurality" in model else 0.3,
             "ece": None if "plurality" in model else 0.02, "parameters": 1000, "macs": 2_000_000,
             "images_per_second": 99.5, "warning": WARNING if model == "tiny_taught" else None}
            for round_ in wanted
        ]  # fmt: skip

    every = range(rounds + 1)
    return pd.DataFrame(
        rows("cnn", "after", every) + rows("tiny", "after", every)
        + rows("ensemble_mean_probabilities", "ensemble", every, "ensemble", "mean_probabilities")
        + rows("ensemble_plurality", "ensemble", every, "ensemble", "plurality")
        + rows("big", "target", every[1:]) + rows("big_taught", "taught", every[1:], "big", "taught")
        + rows("cnn_taught", "taught", every[1:], "cnn", "taught")
        + rows("tiny_taught", "taught", every[1:], "tiny", "taught")
        + rows("big_labels", "reference", [rounds], "big", "labels")
        + rows("cnn_continued", "reference", [rounds], "cnn", "continued")
        + rows("ensemble_without_cnn", "reference", every, "ensemble", "without cnn")
    )  # fmt: skip


def comparison(
    question: str, a: str = "big_taught@1", b: str = "big_labels@1", verdict: str = "gain"
) -> dict[str, object]:
    p = {"gain": 0.01, "loss": 0.01}.get(verdict, 0.5)
    sign = -1 if verdict == "loss" else 1
    return {"question": question, "a": a, "b": b, "domain": "all", "measure": "accuracy",
            "student": a.partition("_")[0],
            "difference": 0.034 * sign, "standard_error": 0.012,
            "low": 0.01, "high": 0.06, "p_value": p, "verdict": verdict}  # fmt: skip


def curves(rounds: int = 1) -> pd.DataFrame:
    fits = [("cnn", "before", 0), ("tiny", "before", 0), ("big_labels", "reference", rounds)]
    fits += [(f"{model}_taught", "taught", k + 1) for k in range(rounds) for model in ("big", "cnn", "tiny")]
    fits += [("cnn_continued", "reference", rounds)]
    return pd.DataFrame(
        {"model": model, "stage": stage, "round": round_, "of": model.split("_")[0],
         "arm": model.split("_")[1] if "_" in model else None, "epoch": epoch, "validation_accuracy": epoch / 4,
         "validation_loss": 1e5 / 10**epoch}
        for model, stage, round_ in fits for epoch in (1, 2, 3)
    )  # fmt: skip


def square(names: list[str], corner: str) -> pd.DataFrame:
    table = pd.DataFrame(np.eye(len(names), dtype=int) * 7 + 1, columns=names)
    table.insert(0, corner, names)
    return table


CALIBRATION = pd.DataFrame(
    {"model": ["big@1", "big@1", "ensemble_mean_probabilities@0"], "confidence": [0.5, 0.9, 0.8],
     "accuracy": [0.4, 1.0, 0.9], "images": [3, 50, 53]}
)  # fmt: skip


TIMELINE = {
    "began": 1.7e9, "places": ["cpu"],
    "nodes": [
        {"node": "student_training.train_cnn", "model": "cnn", "places": ["cpu"], "started": 1.7e9 + 1,
         "ended": 1.7e9 + 9, "status": "finished", "attempt": 1},
    ],
}  # fmt: skip

METRICS = [
    {"model": model, "stage": stage, "of": "big", "round": 1, "domain": "all", "accuracy": accuracy,
     "joint_accuracy": accuracy}
    for model, stage, accuracy in (("big", "target", 0.5), ("big_taught", "taught", 0.95))
]  # fmt: skip


def descent(parent: str, *, warning: str = "", **numbers: dict[str, float]) -> dict[str, object]:
    known = {"validation_nll": {}, "chosen_from": {}, **numbers}
    return {"sha256": "f" * 64, "parents": {parent: "e" * 64}, "images_sha256": "d" * 64, "seed": 3,
            "warning": warning, **known}  # fmt: skip


CLASSES = pd.DataFrame(
    {"domain": "all", "class": NASTY, "images": 5, "accuracy": [0.25, 0.75, 0.75], "joint_accuracy": 0.5, "before": 0.5,
     "after": 0.75}
)  # fmt: skip


LINEAGE = {
    "big@1": descent("big_taught@1", validation_nll={"big_taught@1": 0.25, "big_labels@1": 0.5}),
    "cnn@1": descent("cnn@0", validation_nll={"cnn@0": 0.125, "cnn_taught@1": 0.75}),
    "tiny@1": descent("tiny_continued@1", validation_nll={"tiny_taught@1": 2.5, "tiny_continued@1": 1.5}),
    "big_taught@1": descent("cnn@0"),
    "cnn_taught@1": descent("cnn@0"),
    "tiny_taught@1": descent("tiny@0", warning=WARNING),
}


WITHOUT_WARNING = {**LINEAGE, "tiny_taught@1": descent("tiny@0")}


@pytest.fixture(scope="module")
def page() -> str:
    return write_report(
        pd.DataFrame([comparison(comparisons.TARGET_OR_LABELS)]),
        metrics(),
        curves(),
        square(NASTY, "label"),
        CALIBRATION,
        {"pipeline": "bidirectional", "environment": "base", "started": 1.7e9, "machine": "a <b>machine</b>",
         "versions": {"torch": "2"}, "git_commit": None},
        {"images": {"students": 9, "validation": 2, "transfer": 4, "test": 1000}, "class_names": NASTY,
         "domains": {"all": {"images": {"test": 1000}, "class_names": NASTY}}, "shape": [1, 32, 32],
         "dropped_because_in_test_set": 0},
        LINEAGE,
        TIMELINE,
        {"seed": 0, "data": {"source": "<script>folder</script>"},
         "target_distillation": {"distillation": {"alpha": 0.9}},
         "students": {"cnn": Student(name="cnn", architecture={"kind": "resnet8"})},
         "heterogeneous": {"seed": 77}},
        CLASSES,
        agreement=square(["cnn@0", "big@1"], "model").replace(8, 1.0),
    )  # fmt: skip


class Page(HTMLParser):
    """What a browser would make of the page: its elements, ids, and what they would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "srcset", "data", "action"):
                self.fetched.append(value)


def test_nothing_is_fetched_and_nothing_runs(page):
    parsed = Page(page)
    assert not [value for value in parsed.fetched if not value.startswith(("#", "data:"))]
    assert not re.findall(r"url\((?!#)|@import", page)
    assert not parsed.elements & {"script", "link", "iframe", "object", "embed"}
    assert "default-src 'none'" in page


def test_class_names_and_sources_are_text(page):
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;script&gt;folder&lt;/script&gt;" in page
    assert "$x_1$" in re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)


def test_the_mean_over_classes_stands_below_their_table(page):
    """However many images a class has: (25 + 75 + 75) / 3."""
    assert "Balanced accuracy, the mean over classes: target 58.3 %, students 50.0 % before and 75.0 % after." in page


def test_ids_are_unique(page):
    ids = Page(page).ids
    assert len(ids) == len(set(ids)) > 0


def test_the_page_shows_where_the_time_went(page):
    assert "One node ran, on cpu, in 9.0 seconds." in page
    assert "88.9" in page[page.index("The slowest nodes") :], "of the time, in percent"
    assert "Hatched" not in page


def test_the_page_has_the_numbers(page):
    assert "+3.4 ± 1.2" in page
    assert "target_distillation.distillation.alpha: 0.9" in page
    assert "students.cnn.architecture.width: 1.0" in page
    assert "heterogeneous" not in page, "another experiment's parameters"
    assert "91.0 ± 1.0" in page
    assert "ffffffffffff" in page
    kept = re.sub("<[^>]*>", " ", page[page.index("What was kept") : page.index("Differences")])
    assert re.search(r"cnn@1\s+as before\s+0\.125\s+0\.750", kept)
    assert "for the way back there is no reference." in page
    assert "None" not in page
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize(
    ("labels", "smoothed", "text"),
    [
        ("gain", "gain", "knowledge passed to the target"),
        ("gain", "none", "that knowledge passed is not shown"),
        ("gain", None, "was not tried"),
        ("none", "gain", "no transfer to the target is shown"),
        ("not beyond chance", None, "no transfer to the target is shown"),
        ("loss", "gain", "did harm"),
        (None, None, "unknown"),
    ],
)
def test_transfer_is_claimed_beside_both_arms_only(labels, smoothed, text):
    verdicts = {comparisons.TARGET_OR_LABELS: labels, comparisons.TARGET_OR_SMOOTHING: smoothed}
    rows = [comparison(question, verdict=verdict) for question, verdict in verdicts.items() if verdict]
    _, second, _, _ = summary_text.lead(rows, METRICS, WITHOUT_WARNING)
    assert second.startswith("big_taught, taught by the ensemble, is right on 95.0")
    assert text in second
    assert ("knowledge passed to the target" in second) == (labels == smoothed == "gain")


def test_the_lead_names_students_that_learned_more():
    rows = [
        comparison(comparisons.TAUGHT_OR_CONTINUED, "cnn_taught@1", "cnn_continued@1", "gain"),
        comparison(comparisons.TAUGHT_OR_CONTINUED, "tiny_taught@1", "tiny_continued@1", "loss"),
        comparison(comparisons.TAUGHT_OR_CONTINUED, "odd_taught@1", "odd_continued@1", "none"),
    ]
    _, _, third, _ = summary_text.lead(rows, METRICS, WITHOUT_WARNING)
    assert re.search(r"cnn \(\+3.4.*\) learned more .*tiny \(−3.4.*\) learned less .*1 of 3 students", third)
    assert "every difference" in summary_text.lead(rows[2:], METRICS, LINEAGE)[2]
    assert "unknown" in summary_text.lead([], METRICS, LINEAGE)[2]


def from_there(labels: str | None, smoothed: str | None) -> list[dict[str, object]]:
    verdicts = {comparisons.TARGET_OR_LABELS: labels, comparisons.TARGET_OR_SMOOTHING: smoothed}
    return [comparison(question, verdict=verdict) for question, verdict in verdicts.items() if verdict]


def back_to(**verdicts: str) -> list[dict[str, object]]:
    return [
        comparison(comparisons.TAUGHT_OR_CONTINUED, f"{student}_taught@1", f"{student}_continued@1", verdict)
        for student, verdict in verdicts.items()
    ]


@pytest.mark.parametrize(
    ("labels", "smoothed", "phrase"),
    [
        ("gain", "gain", "Knowledge flowed from"),
        ("gain", "none", "is not shown to have flowed"),
        ("gain", "loss", "is not shown to have flowed"),
        ("not beyond chance", "gain", "is not shown to have flowed"),
        ("loss", None, "is not shown to have flowed"),
        (None, None, "Knowledge may have flowed from"),
        ("gain", None, "Knowledge may have flowed from"),
    ],
)
def test_the_first_sentence_says_whether_knowledge_reached_the_target(labels, smoothed, phrase):
    first = summary_text.lead(from_there(labels, smoothed) + back_to(cnn="gain"), METRICS, LINEAGE)[0]
    assert phrase in first
    assert first.endswith("from the students to the target; on the way back, it flowed to cnn.")


@pytest.mark.parametrize(
    ("verdicts", "end"),
    [
        ({"cnn": "gain", "tiny": "loss", "odd": "gain"}, "on the way back, it flowed to cnn and odd."),
        ({"cnn": "not beyond chance", "tiny": "loss", "odd": "none"}, "on the way back, it is shown for no student."),
        ({}, "for the way back there is no reference."),
    ],
)
def test_the_first_sentence_says_to_whom_it_came_back(verdicts, end):
    """Beside the same steps on labels alone: a student that is only better than before has learned from images."""
    before = comparison(comparisons.TAUGHT_OR_BEFORE, "tiny_taught@1", "tiny@0", "gain")
    first = summary_text.lead([*from_there("gain", "gain"), before, *back_to(**verdicts)], METRICS, LINEAGE)[0]
    assert first == f"Knowledge flowed from the students to the target; {end}"


def test_the_lead_says_which_weights_were_kept_and_who_has_not_learned():
    *_, kept, not_learned = summary_text.lead([], METRICS, LINEAGE)
    assert kept == "Kept, as the best on validation: cnn@1 as before; big@1 as taught; tiny@1 on labels."
    assert not_learned == f"tiny_taught@1 has not learned: it {WARNING}."
    assert summary_text.lead([], METRICS, WITHOUT_WARNING)[-1] == kept


def test_a_fit_that_collapsed_is_named_once():
    """The accepted model that has its weights says no more."""
    accepted = descent("tiny_taught@1", warning=WARNING, validation_nll={"tiny_taught@1": 2.5})
    sentences = summary_text.lead([], METRICS, {**LINEAGE, "tiny@1": accepted})
    assert [each.partition(" ")[0] for each in sentences if WARNING in each] == ["tiny_taught@1"]


def rows_of_kept(lineage: dict[str, dict[str, object]]) -> list[dict[str, object]]:
    return records(report._kept(lineage).frame)


def test_the_table_of_what_was_kept_has_every_candidate():
    assert rows_of_kept(LINEAGE) == [
        {"model": "big@1", "kept": "as taught", "chosen": None, "before": None, "taught": 0.25, "on_labels": 0.5},
        {"model": "cnn@1", "kept": "as before", "chosen": None, "before": 0.125, "taught": 0.75, "on_labels": None},
        {"model": "tiny@1", "kept": "on labels", "chosen": None, "before": None, "taught": 2.5, "on_labels": 1.5},
    ]
    assert "chosen on validation" not in [column.heading for column in report._kept(LINEAGE).columns]


def test_the_table_of_what_was_kept_has_the_choice_of_several():
    tried = {"alpha 0.9, temperature 4": 0.5, "alpha 0.1, temperature 4": 0.25}
    lineage = {**LINEAGE, "big_taught@1": descent("cnn@0", chosen_from=tried)}
    assert [row["chosen"] for row in rows_of_kept(lineage)] == ["alpha 0.1, temperature 4", None, None]
    assert "chosen on validation" in [column.heading for column in report._kept(lineage).columns]


def test_the_lead_says_where_validation_did_not_decide():
    assert "Kept, as the best on validation: " in summary_text._kept(LINEAGE)
    worse = {**LINEAGE["big@1"], "validation_nll": {"big_taught@1": 0.5, "big_labels@1": 0.25}}
    assert summary_text._kept({"big@1": worse}) == "Kept, whatever validation says: big@1 as taught."


@pytest.mark.parametrize(
    ("parent", "whose"),
    [("cnn@0", "taught by the ensemble"), ("big@0", "on labels because all its teachers had collapsed")],
)
def test_the_lead_says_whether_the_target_had_a_teacher(parent, whose):
    lineage = {**LINEAGE, "big_taught@1": descent(parent)}
    second = summary_text.lead(from_there("gain", None), METRICS, lineage)[1]
    assert second.startswith(f"big_taught, {whose}, is right on")


def test_a_collapsed_model_is_marked_in_the_overview():
    labels = [text.get_text() for text in draw_before_and_after(metrics()).axes[0].get_yticklabels()]
    assert "tiny (collapsed)" in labels
    assert "cnn" in labels


@pytest.mark.parametrize("rounds", [1, 3])
def test_figures_of_several_rounds(rounds):
    for figure in (draw_before_and_after(metrics(rounds)), figures.draw_learning_curves(curves(rounds))):
        assert isinstance(figure, Figure)
        figure.canvas.draw()


@pytest.mark.parametrize("classes", [2, 10, 43])
def test_confusion_of_few_and_many_classes(classes):
    names = [f"end of no passing by vehicles over {k} t" for k in range(classes)]
    figure = figures.draw_confusion(square(names, "label"))
    figure.canvas.draw()
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert len(numbers) == (classes**2 if classes <= 20 else 0)


def test_calibration_leaves_out_bins_of_a_few_images():
    lines = figures.draw_calibration(CALIBRATION).axes[0].get_lines()
    assert 0.5 not in [x for line in lines for x in line.get_xdata()]
    few = CALIBRATION.assign(images=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.draw_calibration(few).canvas.draw()


def test_the_same_figure_is_the_same_svg():
    first, second = (inline_svg(figures.draw_calibration(CALIBRATION), "calibration") for _ in range(2))
    assert first == second
    assert "var(--ink)" in first
