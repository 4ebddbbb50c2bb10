"""Tables of the study student_ensemble, all made of stored predictions: no network is used here."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from knowledge_transfer.experiment.study_tables import scores
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES
from knowledge_transfer.learning.evaluation.metrics import OF_DISTRIBUTIONS
from knowledge_transfer.pipelines.student_ensemble.nodes import best_point, chosen_points
from knowledge_transfer.pipelines.student_ensemble.predictions import (
    both,
    by_seed_of,
    by_size,
    by_validation,
    fused,
    on_test,
)
from knowledge_transfer.pipelines.student_ensemble.settings import (
    ALL,
    BEST_FIRST,
    BOOSTED,
    BOOSTED_MEAN,
    CHOSEN,
    EQUAL,
    EQUAL_VOTE,
    MEAN,
    MEMBERS,
    ON_LABELS,
    PLURALITY,
    SMALLEST_FIRST,
    STUDENT,
    TEACHER,
)
from knowledge_transfer.reporting.statistics import over_seeds, paired

_PUBLISHED_SIZES = (16, 24)
_MEASURED = ["validation", "test", *OF_DISTRIBUTIONS]
_PAIRS = (
    (STUDENT, STUDENT + ON_LABELS),
    (CHOSEN, STUDENT),
    (CHOSEN, CHOSEN + ON_LABELS),
    (ALL, ALL + ON_LABELS),
    (CHOSEN, ALL),
    (BOOSTED, EQUAL_VOTE),
    (BOOSTED_MEAN, EQUAL),
)


def grow(members: pd.DataFrame, **parts: Any) -> pd.DataFrame:
    """Return the accuracy of the first k members' mean of probabilities, for every k, order, arm and seed.

    `is_chosen` marks the k of highest validation accuracy, best members first; of equals the smallest.
    """
    validation, test = both(**parts)
    tables = []
    for (arm, seed), group in by_seed_of(members, MEMBERS, MEMBERS + ON_LABELS):
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


def fuse_members(members: pd.DataFrame, sizes: pd.DataFrame, **parts: Any) -> pd.DataFrame:
    """Return scores by seed of the chosen members and of all under every rule; of other ensembles under two rules."""
    validation, test = both(**parts)
    every, two = (*FUSION_RULES, *VOTING_RULES), (MEAN, PLURALITY)
    rows = []
    for (arm, seed), table in by_seed_of(sizes[sizes["order"] == BEST_FIRST], MEMBERS, MEMBERS + ON_LABELS):
        ordered = by_validation(members[(members["arm"] == arm) & (members["seed"] == seed)])
        ensembles = {CHOSEN: int(table.loc[table["is_chosen"], "members"].iloc[0]), ALL: len(ordered)}
        ensembles |= {f"best {size}": size for size in _PUBLISHED_SIZES if size <= len(ordered)}
        for ensemble, size in ensembles.items():
            first = ordered.iloc[:size]
            names, costs = list(first["model"]), first[["parameters", "counted"]].sum().to_dict()
            known = {"arm": arm, "seed": seed, "ensemble": ensemble, "members": size, **costs}
            for rule in every if arm == MEMBERS and ensemble in (CHOSEN, ALL) else two:
                right = fused(rule, names, validation, validation).accuracy
                result = fused(rule, names, test, validation)
                rows.append({**known, "rule": rule, "validation": right, **on_test(result)})
    return pd.DataFrame(rows)


def score_singles(members: pd.DataFrame, **parts: Any) -> pd.DataFrame:
    """Return every model by itself, a row each: its facts, its accuracy on both sets, NLL and ECE on the test set."""
    models = list(members["model"])
    test = scores(models, parts["test_predictions"], parts["test_images"]).rename(columns={"accuracy": "test"})
    validation = scores(models, parts["validation_predictions"], parts["validation_images"]).set_index("model")
    table = members.drop(columns="validation").merge(test[["model", "test", *OF_DISTRIBUTIONS]], on="model")
    return table.assign(validation=table["model"].map(validation["accuracy"]))


def compare_points(as_set: str, sweep: pd.DataFrame, predictions: SoftLabels, images: ImageSet) -> pd.DataFrame:
    """Return means over seeds of the tested points of the sweep, and the gain over labels; `as_set` is the study's."""
    tested = sweep[sweep["point"].isin(chosen_points(sweep, as_set))]
    tested = tested.merge(scores(list(tested["model"]), predictions, images)[["model", "accuracy"]], on="model")
    best = best_point(sweep)
    by_seed = {point: group.set_index("seed")["accuracy"] for point, group in tested.groupby("point", sort=False)}
    rows = []
    for point, group in tested.groupby("point", sort=False):
        role = [word for word, each in (("best on validation", best), ("as set", as_set)) if each == point]
        gain = {} if point == "alpha0" or "alpha0" not in by_seed else paired(by_seed[point], by_seed["alpha0"])
        means = over_seeds(group.rename(columns={"accuracy": "test"}), ["point"], ["validation", "test"])
        first = group.iloc[0][["loss", "temperature", "alpha", "hard_weight"]].to_dict()
        rows.append({"role": ", ".join(role) or "labels alone", **first, **means.iloc[0].to_dict(), **gain})
    return pd.DataFrame(rows)


def compare_arms(kinds: Mapping[str, Sequence[str]], **given: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each arm on each data set, and for each arm that it is compared with, paired by seed.

    `given` are the `<data set>_<kind>` tables. Ensembles predict by the mean of probabilities, boosted ones by SAMME's
    vote.
    """
    rows = []
    for name, own in kinds.items():
        runs = _runs(**{kind: given[f"{name}_{kind}"] for kind in own})
        for arm, group in runs.items():
            means = over_seeds(group.assign(arm=arm), ["arm"], ["members", "parameters", "counted", *_MEASURED])
            known: dict[Any, Any] = {"data": name, **means.iloc[0].to_dict()}
            against = [second for first, second in _PAIRS if first == arm and second in runs]
            for second in against:
                difference = paired(group.set_index("seed")["test"], runs[second].set_index("seed")["test"])
                rows.append({**known, "against": second, **difference})
            if not against:
                rows.append({**known, "against": None})
    return pd.DataFrame(rows)


def _runs(singles: pd.DataFrame, rules: pd.DataFrame, votes: pd.DataFrame | None = None) -> dict[str, pd.DataFrame]:
    """Return a row a seed for each arm."""
    found = {arm: singles[singles["arm"] == arm].assign(members=1) for arm in (TEACHER, STUDENT, STUDENT + ON_LABELS)}
    by_seed = singles[singles["arm"] == MEMBERS].groupby("seed", as_index=False)
    found["mean of single members"] = by_seed[["parameters", "counted", *_MEASURED]].mean().assign(members=1)
    for arm, ending in ((MEMBERS, ""), (MEMBERS + ON_LABELS, ON_LABELS)):
        fused_by_mean = rules[(rules["arm"] == arm) & (rules["rule"] == MEAN)]
        for ensemble, group in fused_by_mean.groupby("ensemble", sort=False):
            found[f"{ensemble}{ending}"] = group
    if votes is not None:
        whole = votes[votes["members"] == votes["members"].max()]
        # One rule on both sides: otherwise the effect of the rule would count as that of boosting.
        pairs = ((BOOSTED, "samme"), (BOOSTED, MEAN), (EQUAL, PLURALITY), (EQUAL, MEAN))
        for arm, (trained, rule) in zip((BOOSTED, BOOSTED_MEAN, EQUAL_VOTE, EQUAL), pairs, strict=True):
            found[arm] = whole[(whole["arm"] == trained) & (whole["rule"] == rule)]
    return {arm: group for arm, group in found.items() if len(group)}


def gather_rows(arms: pd.DataFrame) -> pd.DataFrame:
    """Return each arm once, as the summary has it."""
    once = arms.drop_duplicates(["data", "arm"])
    return pd.DataFrame(
        {
            "model": once["arm"].str.replace(" ", "_"),
            "stage": once["data"] + "_" + "means",
            "accuracy": once["test"],
            # A vote gives no distribution.
            **{name: once[name].mask(once["arm"].isin([BOOSTED, EQUAL_VOTE])) for name in OF_DISTRIBUTIONS},
            "parameters": once["parameters"].round().astype(int),
        }
    )
