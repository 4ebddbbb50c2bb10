"""Tables of the study, all made of stored answers: no network is asked anything here."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES, fuse
from knowledge_transfer.learning.evaluation.metrics import score
from knowledge_transfer.pipelines.student_ensemble.answers import Answers, by_size, by_validation, fused
from knowledge_transfer.pipelines.student_ensemble.arms import BOOSTED, EQUAL, MEMBERS, ON_LABELS, STUDENT, TEACHER
from knowledge_transfer.pipelines.student_ensemble.nodes import best_point
from knowledge_transfer.reporting.statistics import over_seeds, paired, scores

BEST_FIRST, SMALLEST_FIRST = "best on validation first", "smallest first"
BOOSTED_MEAN, EQUAL_VOTE = f"{BOOSTED} mean", f"{EQUAL} plurality"
CHOSEN, ALL, MEAN, PLURALITY = "chosen", "all", "mean_probabilities", "plurality"
PUBLISHED_SIZES = (16, 24)
_MEASURED = ["validation", "test", "nll", "ece"]
_PAIRS = (
    (STUDENT, STUDENT + ON_LABELS),
    (CHOSEN, STUDENT),
    (CHOSEN, CHOSEN + ON_LABELS),
    (ALL, ALL + ON_LABELS),
    (CHOSEN, ALL),
    (BOOSTED, EQUAL_VOTE),
    (BOOSTED_MEAN, EQUAL),
)


def grow(
    members: pd.DataFrame,
    validation_answers: SoftLabels,
    test_answers: SoftLabels,
    validation_images: ImageSet,
    test_images: ImageSet,
) -> pd.DataFrame:
    """Return the accuracy of the first k members' mean of probabilities, for every k, order, arm and seed.

    `is_chosen` marks the k of highest accuracy on validation among the best first, of equals the smallest.
    """
    validation, test = Answers(validation_answers, validation_images), Answers(test_answers, test_images)
    tables = []
    for (arm, seed), group in members[members["arm"].isin([MEMBERS, MEMBERS + ON_LABELS])].groupby(
        ["arm", "seed"], sort=False
    ):
        for order, ordered in ((BEST_FIRST, by_validation(group)), (SMALLEST_FIRST, by_size(group))):
            names = list(ordered["model"])
            table = pd.DataFrame(
                {
                    "arm": arm,
                    "seed": seed,
                    "order": order,
                    "members": range(1, len(names) + 1),
                    "parameters": ordered["parameters"].cumsum().to_list(),
                    "counted": ordered["counted"].cumsum().to_list(),
                    "validation": validation.growing(names).tolist(),
                    "test": test.growing(names).tolist(),
                }
            )
            table["is_chosen"] = (table.index == table["validation"].idxmax()) & (order == BEST_FIRST)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def fuse_members(
    members: pd.DataFrame,
    validation_answers: SoftLabels,
    test_answers: SoftLabels,
    validation_images: ImageSet,
    test_images: ImageSet,
    sizes: pd.DataFrame,
) -> pd.DataFrame:
    """Return what every rule makes of the chosen members and of all, and the source's two of its numbers of members.

    Of the untaught, as of the source's numbers, the mean of probabilities and the plurality alone. A row a seed.
    """
    validation, test = Answers(validation_answers, validation_images), Answers(test_answers, test_images)
    every, two = (*FUSION_RULES, *VOTING_RULES), (MEAN, PLURALITY)
    rows = []
    for (arm, seed), table in sizes[sizes["order"] == BEST_FIRST].groupby(["arm", "seed"], sort=False):
        ordered = by_validation(members[(members["arm"] == arm) & (members["seed"] == seed)])
        ensembles = {CHOSEN: int(table.loc[table["is_chosen"], "members"].iloc[0]), ALL: len(ordered)}
        ensembles |= {f"best {size}": size for size in PUBLISHED_SIZES if size <= len(ordered)}
        for ensemble, size in ensembles.items():
            names = list(ordered["model"])[:size]
            known = {
                "arm": arm,
                "seed": seed,
                "ensemble": ensemble,
                "members": size,
                **ordered[["parameters", "counted"]].iloc[:size].sum().to_dict(),
            }
            for rule in every if arm == MEMBERS and ensemble in (CHOSEN, ALL) else two:
                right = fused(rule, names, validation, validation).accuracy
                result = fused(rule, names, test, validation)
                measured = {"validation": right, "test": result.accuracy, "nll": result.nll, "ece": result.ece}
                rows.append({**known, "rule": rule, **measured})
    return pd.DataFrame(rows)


def score_singles(
    members: pd.DataFrame,
    validation_answers: SoftLabels,
    test_answers: SoftLabels,
    validation_images: ImageSet,
    test_images: ImageSet,
) -> pd.DataFrame:
    """Return every model by itself, a row each: its facts, its accuracy on both sets, NLL and ECE on the test set."""
    test = scores(test_answers, test_images).rename(columns={"accuracy": "test"})
    validation = scores(validation_answers, validation_images).set_index("model")["accuracy"]
    table = members.drop(columns="validation").merge(test[["model", "test", "nll", "ece"]], on="model")
    return table.assign(validation=table["model"].map(validation))


def count_votes(
    members: pd.DataFrame,
    validation_answers: SoftLabels,
    test_answers: SoftLabels,
    validation_images: ImageSet,
    test_images: ImageSet,
    **rounds: pd.DataFrame,
) -> pd.DataFrame:
    """Return the accuracy of the first k members, boosted and equal, for every k, rule and seed.

    Of the boosted SAMME's weighted vote, of both the mean of probabilities and the plurality.
    """
    validation, test = Answers(validation_answers, validation_images), Answers(test_answers, test_images)
    weights = pd.concat(rounds.values()).set_index("model")["weight"]
    rows = []
    for (arm, seed), group in members[members["arm"].isin([BOOSTED, EQUAL])].groupby(["arm", "seed"], sort=False):
        names = list(group["model"])
        for size in range(1, len(names) + 1):
            first = names[:size]
            said = {"validation": validation.logits(first), "test": test.logits(first)}
            votes = {rule: {part: fuse(each, rule) for part, each in said.items()} for rule in (MEAN, PLURALITY)}
            if arm == BOOSTED:
                own = torch.tensor([weights[name] for name in first])
                votes["samme"] = {part: fuse(each, "boosted", weights=own) for part, each in said.items()}
            for rule, distribution in votes.items():
                result = score(distribution["test"], test.labels)
                rows.append(
                    {
                        "arm": arm,
                        "rule": rule,
                        "seed": seed,
                        "members": size,
                        "parameters": int(group["parameters"].iloc[:size].sum()),
                        "counted": int(group["counted"].iloc[:size].sum()),
                        "validation": score(distribution["validation"], validation.labels).accuracy,
                        "test": result.accuracy,
                        "nll": result.nll,
                        "ece": result.ece,
                    }
                )
    return pd.DataFrame(rows)


def compare_points(as_set: str, sweep: pd.DataFrame, answers: SoftLabels, images: ImageSet) -> pd.DataFrame:
    """Return the points of the sweep that were asked about the test set: accuracies, and the gain over labels alone.

    `as_set` is the point at which the study's own teaching is. Means over seeds with standard errors.
    """
    asked = sweep.merge(scores(answers, images)[["model", "accuracy"]], on="model")
    best = best_point(sweep)
    by_seed = {point: group.set_index("seed")["accuracy"] for point, group in asked.groupby("point", sort=False)}
    rows = []
    for point, group in asked.groupby("point", sort=False):
        role = [word for word, each in (("best on validation", best), ("as set", as_set)) if each == point]
        gain = {} if point == "alpha0" or "alpha0" not in by_seed else paired(by_seed[point], by_seed["alpha0"])
        means = over_seeds(group.rename(columns={"accuracy": "test"}), ["point"], ["validation", "test"])
        first = group.iloc[0][["loss", "temperature", "alpha", "hard_weight"]].to_dict()
        rows.append({"role": ", ".join(role) or "labels alone", **first, **means.iloc[0].to_dict(), **gain})
    return pd.DataFrame(rows)


def compare_arms(**tables: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each arm on each data set: accuracy, parameters, and the difference to what it is held against.

    An arm may stand twice, held against two others. Means over seeds with their standard errors; differences are of
    accuracy on the test set, seed by seed. Ensembles answer with the mean of probabilities, boosted ones as SAMME says.
    """
    rows = []
    for name in (key.removesuffix("_singles") for key in tables if key.endswith("_singles")):
        runs = _runs(tables[f"{name}_singles"], tables[f"{name}_rules"], tables.get(f"{name}_votes"))
        for arm, group in runs.items():
            means = over_seeds(group.assign(arm=arm), ["arm"], ["members", "parameters", "counted", *_MEASURED])
            against: list[str | None] = [second for first, second in _PAIRS if first == arm and second in runs]
            for second in against or [None]:
                known: dict[str, Any] = {"data": name, **_plain(means), "against": second}
                known |= {} if second is None else _difference(group, runs[second])
                rows.append(known)
    return pd.DataFrame(rows)


def _runs(singles: pd.DataFrame, rules: pd.DataFrame, votes: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """Return a row a seed for each arm."""
    found = {}
    for arm in (TEACHER, STUDENT, STUDENT + ON_LABELS):
        found[arm] = singles[singles["arm"] == arm].assign(members=1)
    ours = singles[singles["arm"] == MEMBERS]
    found["mean of single members"] = ours.groupby("seed", as_index=False)[
        ["parameters", "counted", *_MEASURED]
    ].mean().assign(members=1)  # fmt: skip
    for arm, ending in ((MEMBERS, ""), (MEMBERS + ON_LABELS, ON_LABELS)):
        fused_by_mean = rules[(rules["arm"] == arm) & (rules["rule"] == MEAN)]
        for ensemble, group in fused_by_mean.groupby("ensemble", sort=False):
            found[f"{ensemble}{ending}"] = group
    if votes is not None:
        whole = votes[votes["members"] == votes["members"].max()]
        found[BOOSTED] = whole[(whole["arm"] == BOOSTED) & (whole["rule"] == "samme")]
        # By one rule on both sides: else what the rule does would count as what boosting does.
        found[BOOSTED_MEAN] = whole[(whole["arm"] == BOOSTED) & (whole["rule"] == MEAN)]
        found[EQUAL_VOTE] = whole[(whole["arm"] == EQUAL) & (whole["rule"] == PLURALITY)]
        found[EQUAL] = whole[(whole["arm"] == EQUAL) & (whole["rule"] == MEAN)]
    return {arm: group for arm, group in found.items() if len(group)}


def _plain(means: pd.DataFrame) -> dict[str, Any]:
    return {str(key): value for key, value in means.iloc[0].to_dict().items()}


def _difference(one: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any]:
    return paired(one.set_index("seed")["test"], other.set_index("seed")["test"])


def gather_rows(arms: pd.DataFrame) -> pd.DataFrame:
    """Return each arm once, as the summary has it."""
    once = arms.drop_duplicates(["data", "arm"])
    return pd.DataFrame(
        {
            "model": once["arm"].str.replace(" ", "_"),
            "stage": once["data"] + "_" + "means",
            "accuracy": once["test"],
            # A vote gives no distribution.
            "nll": once["nll"].mask(once["arm"].isin([BOOSTED, EQUAL_VOTE])),
            "ece": once["ece"].mask(once["arm"].isin([BOOSTED, EQUAL_VOTE])),
            "parameters": once["parameters"].round().astype(int),
        }
    )
