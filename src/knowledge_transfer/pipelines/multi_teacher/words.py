"""Sentences of the page of many teachers, from its tables."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from knowledge_transfer.learning.fusion import VOTING_RULES
from knowledge_transfer.pipelines.multi_teacher.published import is_published, published_gap
from knowledge_transfer.pipelines.multi_teacher.settings import LABELS, MAIN
from knowledge_transfer.pipelines.multi_teacher.tables import BY_CLASS, ENSEMBLE, TEACHER
from knowledge_transfer.pipelines.numbers import GAP, percent, points

METHODS = (
    "Every seed has teachers of its own. ±: one standard error over seeds; differences are paired by seed. A learner's "
    "first weights, images and their order are those of its seed, whatever it learns by. output_avg: KL from the mean "
    "of the teachers' probabilities; loss_avg: mean of the KLs from each; mimic_all: a head for each teacher, the answer "
    "is the mean of what the heads say; stacked: KL from a softmax layer on all teachers' logits, fitted on validation; "
    "labels: no teacher."
)
RULES = "means over seeds and one standard error, paired by seed; to the right of the line a rule is better."
VOTES = (
    "The same teachers under every rule. One rule for ties: the sum of the teachers' probabilities, then the lower "
    f"class index; {BY_CLASS} is plurality with the lower class index alone. Weights and layers come from validation. "
    "A vote has no NLL. Ties: images on which no class is first on more ballots than every other."
)
COMPRESSION = (
    "An ensemble costs as much as its members together. What learned from it is one network, of a teacher's size or "
    "less; each head of mimic_all adds a last layer.",
)
COSTS = "Latency of one image in a batch, on the device of the run, members one after another."
SWEEPS = {
    "alpha": "weight of the soft loss; the source weights the hard one.",
    "fraction": "every teacher has a random part of its own, learners see all images.",
}


def lead(name: str, methods: pd.DataFrame, rules: pd.DataFrame, compression: pd.DataFrame) -> Iterator[str]:
    """Yield what a reader in a hurry takes away of one data set."""
    main = methods[(methods["data"] == name) & (methods["sweep"] == MAIN)]
    most = main["members"].max()
    teacher = main[(main["method"] == TEACHER) & (main["fraction"] == 1)].iloc[0]
    fused = _one(rules, data=name, members=most, rule="mean_probabilities")
    labels = _one(main, method=LABELS)
    learners = main[main["members"] == most]
    told = ", ".join(
        f"{row['method']} {_right(row)} ({points(row['beyond_labels'])}{_error(row['beyond_labels_error'])} points beyond "
        f"labels: {row['beyond_labels_verdict']})"
        for _, row in learners.iterrows()
    )
    yield (
        f"{name}: a teacher alone is right on {_right(teacher)}{GAP}% of the test images, {most} together on "
        f"{_right(fused)}{GAP}%. One network that learned from all {most}: {told}; from labels alone {_right(labels)}{GAP}%."
    )
    yield plurality(name, rules)
    costs = compression[(compression["data"] == name) & (compression["members"] == most)]
    single = costs[costs["what"] != ENSEMBLE]
    if len(single):
        row = single.iloc[-1]
        yield (
            f"{name}: {row['what']} needs {row['saved']:.1f} times fewer multiply-adds than the ensemble of {most}, for "
            f"{points(row['accuracy'] - fused['accuracy'])} points of accuracy."
        )


def plurality(name: str, rules: pd.DataFrame) -> str:
    """Return whether plurality is the worst vote, as the source says, and what the rule for ties has to do with it."""
    own = rules[rules["data"] == name]
    told = []
    for members in sorted(set(own["members"])):
        votes = own[(own["members"] == members) & own["rule"].isin(VOTING_RULES) & (own["rule"] != "plurality")]
        counts = votes["verdict"].value_counts()
        seeds = own["seeds"].iloc[0]
        better, worse = counts.get("gain", 0), counts.get("loss", 0)
        ours = _one(own, members=members, rule="plurality")
        by_class = _one(own, members=members, rule=BY_CLASS)
        tally = f"better {better}, worse {worse}, of no proven difference {len(votes) - better - worse}"
        if seeds == 1:
            tally = (
                f"higher {int((votes['difference'] > 0).sum())}, lower {int((votes['difference'] < 0).sum())}, one seed"
            )
        told.append(
            f"with {members} teachers plurality has {_right(ours)}{GAP}%, and of the {len(votes)} other votes are {tally}; "
            f"{percent(ours['tied'])}{GAP}% of the images tie, and to let the lower class index settle these changes "
            f"plurality by {points(by_class['difference'])}{_error(by_class['standard_error'])} points"
        )
    return f"{name}, is plurality the worst vote? {'; '.join(told)}."


def same_gradient(methods: pd.DataFrame) -> list[str]:
    """Return why output_avg and loss_avg are one, and by how much they differ all the same."""
    told = [
        "The mean of the divergences from each teacher is the divergence from the mean of the teachers plus a number "
        "that no learner changes: how much the teachers disagree. So output_avg and loss_avg have the same gradient, "
        "and, given the same first weights and the same batches, differ by rounding alone, which training enlarges."
    ]
    rows = methods[
        (methods["method"] == "loss_avg") & (methods["sweep"] == MAIN) & methods["beyond_output_avg"].notna()
    ]
    if len(rows):
        here = "; ".join(
            f"{row['data']}, {row['members']} teachers: {points(row['beyond_output_avg'])}"
            f"{_error(row['beyond_output_avg_error'])}"
            for _, row in rows.iterrows()
        )
        told.append(f"loss_avg beyond output_avg here, in points, paired by seed: {here}.")
    gap, error = published_gap()
    told.append(
        f"The source finds loss_avg ahead by {100 * gap:.2f} points, the mean over its twenty pairs of cells (two to five "
        "teachers, five fractions); single pairs range from −0.5 to +3.8. That cannot come from the losses. By the "
        f"standard errors that it prints, of runs that differ in seed, the mean gap would be good to {100 * error:.2f} "
        "points; so either these errors are too small, or the runs of the two methods differ in something beside the "
        "loss: they are not paired, each draws teachers of its own and stops by its own validation loss."
    )
    return told


def source(methods: pd.DataFrame) -> list[str]:
    """Return what the source did otherwise, and how its figures compare."""
    told = [
        "Zuchniak 2023, arXiv 2302.07215, teaches a ResNet50V2 by two to five ResNet50V2s on CIFAR-10, MNIST and "
        "Fashion-MNIST. It weights the hard loss by 0, 0.25, 0.5 and 0.75, here alpha 1, 0.75, 0.5 and 0.25; its "
        "temperature is 1; its fractions are what each teacher has seen of the training images. Its ResNet50V2 is "
        "ImageNet's, whose stem and first pooling leave 8 x 8 of 32 x 32 pixels: its 79 to 84 % are ten points below what "
        "the same depth reaches with a stem for small images, which the ResNet50 here has.",
        "It calls plurality the worst vote. Its code breaks ties by the lower class index, for the comparison that should "
        "find equals compares a class with itself; two rules overwrite what their ties decided. The column of ties above "
        "says on how many images that matters.",
    ]
    if not any(is_published(name) for name in methods["data"]):
        told.append("This run has no CIFAR-10: its accuracies stand beside no published ones.")
    return told


def _one(rows: pd.DataFrame, **wanted: object) -> pd.Series:
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows.iloc[0]


def _right(row: pd.Series) -> str:
    return f"{percent(row['accuracy'])}{_error(row['accuracy_error'])}"


def _error(error: float) -> str:
    return "" if pd.isna(error) else f" ± {percent(error)}"
