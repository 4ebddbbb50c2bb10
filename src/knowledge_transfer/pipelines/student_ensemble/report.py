"""The page of the study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from knowledge_transfer.pipelines.student_ensemble import figures
from knowledge_transfer.pipelines.student_ensemble.arms import BOOSTED, EQUAL, ON_LABELS, STUDENT, TEACHER
from knowledge_transfer.pipelines.student_ensemble.published import PUBLISHED
from knowledge_transfer.pipelines.student_ensemble.tables import ALL, BOOSTED_MEAN, CHOSEN, EQUAL_VOTE, MEAN
from knowledge_transfer.reporting.formats import GAP, percent, points
from knowledge_transfer.reporting.page import Column, Drawn, Section, Table, write_page
from knowledge_transfer.reporting.statistics import over_seeds

_WORDS = {
    CHOSEN: "ensemble, k by validation",
    ALL: "ensemble of all",
    "best 16": "ensemble of the best 16",
    "best 24": "ensemble of the best 24",
    BOOSTED: "boosted members, SAMME's vote",
    BOOSTED_MEAN: "boosted members, mean of probabilities",
    EQUAL: "as many members, not boosted",
    EQUAL_VOTE: "as many members, not boosted, plurality",
}
_ARMS = (
    Column("data", "data"),
    Column("arm", "arm"),
    Column("size", "members"),
    Column("parameters", "parameters", "count"),
    Column("counted", "counted as published", "count"),
    Column("validation", "validation %", "percent", "validation_error"),
    Column("test", "test %", "percent", "test_error"),
    Column("seeds", "seeds", "count"),
)
_BESIDE = (
    Column("data", "data"),
    Column("arm", "arm"),
    Column("published", "published %", "percent"),
    Column("test", "ours %", "percent", "test_error"),
    Column("published_parameters", "published parameters", "count"),
    Column("counted", "ours, counted alike", "count"),
    Column("parameters", "ours, all of them", "count"),
)
_DIFFERENCES = (
    Column("data", "data"),
    Column("arm", "arm"),
    Column("against", "against"),
    Column("difference", "test, points", "points", "standard_error"),
    Column("p_value", "p", "p"),
    Column("verdict", "verdict"),
)
_RULES = (
    Column("rule", "rule"),
    *(
        Column(f"{ensemble}_{what}", f"{ensemble}: {heading}", how, error and f"{ensemble}_{error}")  # type: ignore[arg-type]
        for ensemble in (CHOSEN, ALL)
        for what, heading, how, error in (
            ("validation", "validation %", "percent", None),
            ("test", "test %", "percent", "test_error"),
            ("nll", "NLL", "number", None),
        )
    ),
)
_POINTS = (
    Column("role", "point"),
    Column("loss", "loss"),
    Column("temperature", "temperature", "short"),
    Column("hard_weight", "lambda", "short"),
    Column("alpha", "our alpha", "short"),
    Column("validation", "validation %", "percent", "validation_error"),
    Column("test", "test %", "percent", "test_error"),
    Column("difference", "beyond labels, points", "points", "standard_error"),
    Column("verdict", "verdict"),
)
_FRONT = (
    Column("what", "best for its parameters"),
    Column("parameters", "parameters", "count"),
    Column("validation", "validation %", "percent"),
    Column("test", "test %", "percent"),
)


def write_report(arms: pd.DataFrame, run_info: dict[str, Any], parameters: dict[str, Any], **of_sets: Any) -> str:
    """Return the study's page; `of_sets` are the tables and the data report of every data set, `<name>_sizes`."""
    names = list(dict.fromkeys(arms["data"]))
    sections = [_arms_section(arms)]
    for name in names:
        own = {key.removeprefix(f"{name}_"): each for key, each in of_sets.items() if key.startswith(f"{name}_")}
        sections += _sections_of(name, own)
    return write_page(
        "One teacher, one student, or many tiny ones",
        [sentence for name in names for sentence in _lead(arms[arms["data"] == name])],
        [*sections, Section("The published study", text=_SOURCE)],
        sources={name: of_sets[f"{name}_data"] for name in names},
        run_info=run_info,
        parameters=parameters,
    )


def _arms_section(arms: pd.DataFrame) -> Section:
    once = arms.drop_duplicates(["data", "arm"])
    theirs = [PUBLISHED.get(row["data"], {}).get(row["arm"], (None, None)) for row in once.to_dict("records")]
    once = once.assign(
        published=[accuracy for accuracy, _ in theirs], published_parameters=[count for _, count in theirs]
    )
    once["size"] = [f"{members:.3g}" for members in once["members"]]
    beside = once[once["published"].notna()]
    pairs = _complete(arms[arms["against"].notna()], _DIFFERENCES)
    return Section(
        "Every arm",
        tables=[
            Table(_in_words(once), _ARMS, _ARMS_NOTE),
            *([Table(_in_words(beside), _BESIDE, "The published figures beside ours.")] if len(beside) else []),
            Table(_in_words(pairs), _DIFFERENCES, "Paired by seed; p is Student's. A gain within its error is none."),
        ],
    )


def _sections_of(name: str, own: dict[str, Any]) -> Iterator[Section]:
    """Yield what there is to say of one data set."""
    front = figures.pareto_front(own["sizes"], own["singles"])
    published = figures.draw_published(name, own["sizes"], own["singles"])
    drawn = [Drawn(f"sizes_{name}", figures.draw_sizes(own["sizes"], own["singles"]), _SIZES_CAPTION)]
    drawn += [] if published is None else [Drawn(f"published_{name}", published, _PUBLISHED_CAPTION, is_small=True)]
    yield Section(f"{name}: how many members, how many parameters", figures=drawn, tables=[Table(front, _FRONT)])
    yield Section(f"{name}: how members are fused", tables=[Table(_rules_side_by_side(own["rules"]), _RULES, _RULE)])
    if "sweep" in own:
        chosen = _complete(own["points"], _POINTS)
        yield Section(
            f"{name}: temperature and weight of the losses",
            figures=[Drawn(f"sweep_{name}", figures.draw_sweep(own["sweep"]), _SWEEP_CAPTION)],
            tables=[Table(chosen, _POINTS, _POINTS_NOTE)],
        )
    if "votes" in own:
        yield Section(
            f"{name}: boosting",
            figures=[Drawn(f"votes_{name}", figures.draw_votes(own["votes"]), _VOTES_CAPTION, is_small=True)],
        )


def _rules_side_by_side(rules: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each rule, best first on validation, with the chosen members and all of them side by side."""
    taught = rules[(rules["ensemble"].isin([CHOSEN, ALL])) & ~rules["arm"].str.endswith(ON_LABELS)]
    means = over_seeds(taught, ["ensemble", "rule"], ["validation", "test", "nll"])
    parts = [means[means["ensemble"] == each].set_index("rule").add_prefix(f"{each}_") for each in (CHOSEN, ALL)]
    both = pd.concat(parts, axis=1).reset_index()
    return both.sort_values(f"{CHOSEN}_validation", ascending=False, kind="stable")


def _complete(table: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return what the columns show; empty where a table lacks it, as without a second arm or seed to compare with."""
    names = [name for column in columns for name in (column.name, column.error) if name]
    return table.reindex(columns=names)


def _in_words(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with arms as a reader calls them."""
    table = table.copy()
    for column in {"arm", "against"} & set(table.columns):
        table[column] = [_word(each) for each in table[column]]
    return table


def _word(arm: str | None) -> str | None:
    if not isinstance(arm, str):
        return None
    bare = arm.removesuffix(ON_LABELS)
    return _WORDS.get(bare, bare) + (ON_LABELS if arm.endswith(ON_LABELS) else "")


def _lead(arms: pd.DataFrame) -> Iterator[str]:
    """Yield what one data set says."""
    rows = {row["arm"]: row for row in arms.drop_duplicates("arm").to_dict("records")}
    name, teacher, student, chosen = arms["data"].iloc[0], rows[TEACHER], rows[STUDENT], rows[CHOSEN]
    yield (
        f"{name}: {chosen['members']:.3g} tiny students (k by validation, mean over seeds) are right on "
        f"{_share(chosen)} of the test images with {chosen['parameters']:,.0f} parameters in all; the one student on "
        f"{_share(student)} with {student['parameters']:,.0f}, the teacher on {_share(teacher)} with "
        f"{teacher['parameters']:,.0f}."
    )
    against = {(row["arm"], row["against"]): row for row in arms.to_dict("records")}
    said = [
        f"{words} {points(row['difference'])} ± {percent(row['standard_error'])} points ({row['verdict']})"
        for pair, words in (
            ((CHOSEN, STUDENT), "the chosen ensemble beyond the one student:"),
            ((CHOSEN, CHOSEN + ON_LABELS), "the taught ensemble beyond the one that learned from labels alone:"),
            ((BOOSTED, EQUAL_VOTE), "boosting, by SAMME's vote, beyond the plurality of as many equal members:"),
            ((BOOSTED_MEAN, EQUAL), "both by the mean of probabilities:"),
        )
        if (row := against.get(pair)) is not None and not pd.isna(row["standard_error"])
    ]
    if said:
        yield f"{name}, differences: {'; '.join(said)}."


def _share(row: dict[str, Any]) -> str:
    error = "" if pd.isna(row["test_error"]) else f" ± {percent(row['test_error'])}"
    return f"{percent(row['test'])}{error}{GAP}%"


_ARMS_NOTE = (
    "±: one standard error over seeds, each of which trains every student and member afresh; the teacher is one. "
    f"Ensembles answer with the mean of probabilities ({MEAN}). Members are ranked, and k is chosen, on validation. "
    "Parameters are all that a network learns; beside them what the source would count: no input channels of "
    "convolutions, no biases, no normalisation, no output layer."
)
_SIZES_CAPTION = (
    "Lines are means over seeds, bands reach from the lowest seed to the highest; dots are the numbers of members that "
    "validation chose, one for each seed. The grey steps are what is best on validation for its parameters; they may "
    "go down, for what is drawn is the test set."
)
_PUBLISHED_CAPTION = "Both axes are logarithmic: lower and further left is better. Ours are means over seeds."
_RULE = (
    "Best on validation first. Weights are fitted on validation, so that its own column flatters the rules that have "
    "any. A vote gives one class all the probability: its NLL punishes that and is no measure of the rule."
)
_SWEEP_CAPTION = (
    "Bars are one standard error over seeds. Lambda weighs the hard loss, as in the source: it is 1 - alpha. "
    "soft_cross_entropy is the source's loss, kl has its gradient times the square of the temperature."
)
_POINTS_NOTE = "Chosen on validation; only what stands here was asked about the test set. Paired by seed."
_VOTES_CAPTION = (
    "Members of one shape. Boosted ones are trained one after another on images weighted by SAMME; the others start "
    "from the same weights and see the images in the same order, none weighing more. Each one's weighted error "
    "and weight are in the tables of the rounds. Bars: one standard error."
)
_SOURCE = (
    "Dewalkar, Sinha and Patidar teach one student, and a grid of tiny ones of which the best 16 and 24 answer "
    "together, by lambda H(y, q) + (1 - lambda) H(p, q), the second term at a temperature: best lambda 0.75, "
    "temperature 10. They report on MNIST a teacher at 96.87 %, a student at 95.2 %, single tiny students at 70 to "
    "80 %, the best 16 at 87.64 % and the best 24 at 89.76 %; on CIFAR-10 80 %, 60 %, 50 to 60 %, and 62 % for 24.",
    "Their counts of parameters leave out the input channels of convolutions, all biases and the output layer: of the "
    "student on MNIST they count 7·7·8·256 + 2·25·8 = 100,752. The 1,329,360 of the 24 on CIFAR-10 are the whole grid "
    "of conv {4, 8, 16, 32}, kernel {3, 5}, FC {32, 64, 128} with 7·7 positions before the linear layer, which is what "
    "MNIST's 28 pixels leave after two poolings; images of 32 pixels leave 8·8. Ours have 32 pixels on MNIST too. "
    "The counts given for the two single networks on CIFAR-10 follow from no reading of theirs that was found: "
    "counted as on MNIST, that student would have 263,152 parameters at 32 pixels.",
    "Where the accuracies differ, the likely reason, which no arm here isolates, is how the networks are trained: ours "
    "normalise their batches and anneal the rate, and the source says of neither. Single members stand in the first "
    "table beside its 70 to 80 %: the better they are, the less is left for an ensemble to gain. Without the factor of "
    "the squared temperature, the soft term at temperature 10 has about a hundredth of the gradient it has in kl, so "
    "that the published best should be close to learning from labels alone; the sweep has all three side by side.",
)
