"""Sentences of the page of the study multi_teacher, from its tables."""

from collections.abc import Iterator, Sequence

import pandas as pd

from knowledge_transfer.learning.ensembles.fusion import VOTING_RULES
from knowledge_transfer.pipelines.multi_teacher.published import is_published, published_gap
from knowledge_transfer.pipelines.multi_teacher.settings import ENSEMBLE, LABELS, MAIN, TEACHER
from knowledge_transfer.pipelines.multi_teacher.votes import BY_CLASS
from knowledge_transfer.reporting.formats import GAP, percent, plus_minus, points

METHODS = (
    "Every seed has teachers of its own. ±: one standard error over seeds; differences, in points, are paired by seed. "
    "Learners of one seed start from the same weights, if they have as many heads, and see the same images in the same "
    "order. output_avg: KL from the mean of the teachers' probabilities. loss_avg: mean of the KLs from each. "
    "mimic_all: a head for each teacher, with its share of the soft loss; the prediction is the mean of the heads. "
    "stacked: KL from a softmax layer on all teachers' logits, fitted on validation. labels: no teacher."
)
SWEPT = "Seen: the share of the training images that each teacher learned from."
RULES = "means over seeds and one standard error, paired by seed; to the right of the line a rule is better."
VOTES = (
    "The same teachers under every rule. One rule for ties: the sum of the teachers' probabilities, then the lower "
    f"class index; {BY_CLASS} is plurality with the lower class index alone. Weights and layers come from validation. "
    "A vote has no NLL. Ties: images on which no class is first on more ballots than every other."
)
COMPRESSION = (
    "An ensemble costs as much as its members together. Its learner is one network, of a teacher's size or less; each "
    "head of mimic_all adds a last layer.",
)
COSTS = "Latency of one image in a batch, on the device of the run, members one after another."
SWEEPS = {
    "alpha": "weight of the soft loss; the source weights the hard one.",
    "fraction": "every teacher has its own random subset, learners see all images.",
}


_NO_GAIN = "None of them differs from labels by more than chance."


def lead(name: str, methods: pd.DataFrame, rules: pd.DataFrame, compression: pd.DataFrame) -> Iterator[str]:
    """Yield the main findings on one data set."""
    main = methods[(methods["data"] == name) & (methods["sweep"] == MAIN) & (methods["fraction"] == 1)]
    most = main["members"].max()
    fused = _one(rules, data=name, members=most, rule="mean_probabilities")
    learners = main[main["members"] == most]
    by_method = ", ".join(f"{row['method']} {_right(row)}{GAP}%" for _, row in learners.iterrows())
    proven = [
        f"{row['method']} {points(row['beyond_labels'])}{plus_minus(row['beyond_labels_error'])}"
        for _, row in learners[learners["beyond_labels_verdict"].isin(("gain", "loss"))].iterrows()
    ]
    apart = f"Different from labels by more than chance: {_and(proven)} points." if proven else _NO_GAIN
    yield (
        f"{name}: a teacher alone is right on {_right(_one(main, method=TEACHER))}{GAP}% of the test images, {most} "
        f"together on {_right(fused)}{GAP}%. One network taught by all {most}: {by_method}; taught by labels alone: "
        f"{_right(_one(main, method=LABELS))}{GAP}%. {apart}"
    )
    yield f"{name}: {_plurality(rules[rules['data'] == name], most)}."
    costs = compression[(compression["data"] == name) & (compression["members"] == most)]
    single = costs[costs["what"] != ENSEMBLE]
    if len(single):
        given = [
            f"{row['what']} for {points(row['accuracy'] - fused['accuracy'])} points of accuracy"
            for _, row in single.iterrows()
        ]
        yield (
            f"{name}: one network needs {single['saved'].min():.1f} times fewer multiply-adds than the ensemble of "
            f"{most}, {_and(given)}."
        )


def plurality(name: str, rules: pd.DataFrame) -> str:
    """Return whether plurality is the worst vote, as the source reports, and the effect of the rule for ties."""
    own = rules[rules["data"] == name]
    found = "; ".join(_plurality(own, members) for members in sorted(set(own["members"])))
    return f"{name}, is plurality the worst vote? {found[0].upper()}{found[1:]}."


def _plurality(rules: pd.DataFrame, members: int) -> str:
    own = rules[rules["members"] == members]
    votes = own[own["rule"].isin(VOTING_RULES) & (own["rule"] != "plurality")]
    better = [str(rule) for rule in votes.loc[votes["verdict"] == "gain", "rule"]]
    worse = [str(rule) for rule in votes.loc[votes["verdict"] == "loss", "rule"]]
    ours, by_class = _one(own, rule="plurality"), _one(own, rule=BY_CLASS)
    found = [f"{_and(names)} {verdict}" for names, verdict in ((better, "better"), (worse, "worse")) if names]
    low, high = votes["difference"].min(), votes["difference"].max()
    return (
        f"of {members} teachers plurality makes {_right(ours)}{GAP}%; the {len(votes)} other votes differ from that by "
        f"{points(low)} to {points(high)} points, {_and(found) if found else 'none better or worse'} beyond chance "
        f"(of so many comparisons {0.05 * len(votes):.1f} would be by chance); "
        f"{percent(ours['tied'])}{GAP}% of the images tie, and if the lower class index settled them, as in the "
        f"source's code, plurality would change by {points(by_class['difference'])}"
        f"{plus_minus(by_class['standard_error'])} points"
    )


def same_gradient(methods: pd.DataFrame) -> list[str]:
    """Return why output_avg and loss_avg are one, and by how much they differ all the same."""
    found = [
        "The mean of the divergences from each teacher is the divergence from the mean of the teachers plus a number "
        "that no learner changes: how much the teachers disagree. So output_avg and loss_avg have the same gradient, "
        "and, given the same first weights and the same batches, differ by rounding alone, which training enlarges."
    ]
    rows = methods[(methods["method"] == "loss_avg") & (methods["sweep"] == MAIN)]
    rows = rows[rows["beyond_output_avg"].notna()] if "beyond_output_avg" in rows else rows[:0]
    if len(rows):
        here = "; ".join(
            f"{row['data']}, {row['members']} teachers: {points(row['beyond_output_avg'])}"
            f"{plus_minus(row['beyond_output_avg_error'])}"
            for _, row in rows.iterrows()
        )
        found.append(f"loss_avg beyond output_avg here, in points, paired by seed: {here}.")
    gap, error = published_gap()
    found.append(
        f"The source finds loss_avg ahead by {100 * gap:.1f} points, the mean over its twenty pairs of cells (two to "
        "five teachers, five fractions); single pairs range from −0.5 to +3.8. That cannot come from the losses. By "
        f"its standard errors, over seeds, the mean gap has an error of {100 * error:.1f} points. So either these "
        "errors are too small, or the runs of the two methods differ in more than the loss: they are not paired, each "
        "has its own teachers and stops by its own validation loss."
    )
    return found


def source(methods: pd.DataFrame) -> list[str]:
    """Return how the source differs, and how its figures compare."""
    found = [
        "Zuchniak 2023, arXiv 2302.07215, teaches a ResNet50V2 by two to five ResNet50V2s on CIFAR-10, MNIST and "
        "Fashion-MNIST. It weights the hard loss by 0, 0.25, 0.5 and 0.75, here alpha 1, 0.75, 0.5 and 0.25; its "
        "temperature is 1; its fractions are what each teacher has seen of the training images. Its ResNet50V2 is "
        "ImageNet's, whose stem and first pooling leave 8 x 8 of 32 x 32 pixels: its 79 to 84 % are ten points below "
        "what the same depth reaches with a stem for small images, which the ResNet50 of conf/full has.",
        "It calls plurality the worst vote. Its code breaks ties by the lower class index, because the comparison that "
        "should find equals compares a class with itself; two rules overwrite the result of a tie. The column of ties "
        "above counts the images concerned.",
    ]
    if not any(is_published(name) for name in methods["data"]):
        found.append("This run has no CIFAR-10: its accuracies cannot be compared with published ones.")
    return found


def _one(rows: pd.DataFrame, **wanted: object) -> pd.Series:
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows.iloc[0]


def _right(row: pd.Series) -> str:
    return f"{percent(row['accuracy'])}{plus_minus(row['accuracy_error'])}"


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
