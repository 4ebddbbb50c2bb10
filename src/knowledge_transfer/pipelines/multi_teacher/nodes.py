"""Nodes of the study multi_teacher: validation scores, costs, scores, methods compared, what one network saves."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import pandas as pd

from knowledge_transfer.experiment.study_tables import Roles, key_of, scores, with_roles
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import score_members
from knowledge_transfer.learning.evaluation.metrics import SCORES
from knowledge_transfer.learning.evaluation.predict import images_per_second, multiply_adds
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.pipelines.multi_teacher.published import PUBLISHED, is_published
from knowledge_transfer.pipelines.multi_teacher.settings import ENSEMBLE, LABELS, MAIN, ONE_TEACHER, TEACHER
from knowledge_transfer.reporting.statistics import over_seeds, paired

_ARM = ["method", "members", "alpha", "fraction", "sweep"]


def rank_teachers(teams: Mapping[str, Sequence[str]], predictions: SoftLabels, images: ImageSet) -> dict[str, Any]:
    """Return the validation scores of the teachers of each team, by the name of its arm, then by teacher."""
    validation_scores = {}
    for team, names in teams.items():
        keys = [key_of(name) for name in names]
        logits = predictions.only(keys).logits[:, :, 0].float()
        scored = score_members(keys, logits, images.labels)
        validation_scores[team] = {key: each.model_dump() for key, each in scored.items()}
    return validation_scores


def measure_costs(networks: Mapping[str, str], images: ImageSet, device: str, *models: Checkpoint) -> pd.DataFrame:
    """Return parameters, multiply-adds per image and images per second of each model, by the name of its network."""
    rows = [
        (
            networks[model.facts.name],
            str(model.facts.architecture),
            model.facts.parameters,
            multiply_adds(model.build(), model.facts.channels, model.facts.image_size),
            images_per_second(model.build(), images, device=resolve_device(device)),
        )
        for model in models
    ]
    return pd.DataFrame(rows, columns=["role", "network", "parameters", "macs", "images_per_second"])


def score_models(roles: Roles, images: ImageSet, costs: pd.DataFrame, *predictions: SoftLabels) -> pd.DataFrame:
    """Return the scores of every model on the test set, with role, parameters and images per second.

    `predictions` are those of one seed each; networks of one architecture have the costs of the one measured.
    """
    seeds = sorted({role.seed for role in roles.values()})
    tables = [
        scores([model for model, role in roles.items() if role.seed == seed], predicted, images)
        for seed, predicted in zip(seeds, predictions, strict=True)
    ]
    table = with_roles(pd.concat(tables, ignore_index=True).assign(set="test"), roles)
    measured = costs.set_index("role")
    networks = [
        network_of(each.method, each.members, measured.index) for each in map(roles.__getitem__, table["model"])
    ]
    known = measured.loc[networks, ["parameters", "images_per_second"]].reset_index(drop=True)
    return pd.concat([table, known], axis=1)


def compare_methods(**tables: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every arm of every data set: means over seeds, paired differences to labels and output_avg."""
    rows = []
    for name, table in tables.items():
        means = over_seeds(table, _ARM, SCORES)
        accuracies = {key: group.groupby("seed")["accuracy"].mean() for key, group in table.groupby(_ARM)}
        labels = next(each for key, each in accuracies.items() if key[0] == LABELS)
        for row in cast("list[dict[str, Any]]", means.to_dict("records")):
            key = tuple(row[each] for each in _ARM)
            found: dict[str, Any] = {"data": name, **row}
            if row["method"] not in (TEACHER, LABELS):
                found |= _named("beyond_labels", paired(accuracies[key], labels))
            averaged = accuracies.get(("output_avg", *key[1:]))
            if averaged is not None and row["method"] != "output_avg":
                found |= _named("beyond_output_avg", paired(accuracies[key], averaged))
            rows.append({**found, **_published(name, row)})
    return pd.DataFrame(rows)


def _named(prefix: str, difference: Mapping[str, Any]) -> dict[str, Any]:
    return {
        prefix: difference["difference"],
        f"{prefix}_error": difference["standard_error"],
        f"{prefix}_verdict": difference["verdict"],
    }


def _published(name: str, row: Mapping[str, Any]) -> dict[str, float]:
    if not is_published(name) or row["sweep"] == "alpha":
        return {}
    found = PUBLISHED.get((row["method"], row["members"], row["fraction"]))
    return {} if found is None else {"published": found[0], "published_error": found[1]}


def compress(
    learners: Sequence[str], methods: pd.DataFrame, rules: pd.DataFrame, **costs: pd.DataFrame
) -> pd.DataFrame:
    """Return costs and accuracy of ensembles of each size and of their `learners`; latency in milliseconds an image.

    `costs` are by data set. Members predict one after another, in batches.
    """
    rows = []
    for name, table in costs.items():
        measured = table.set_index("role")
        ensembles = rules[(rules["data"] == name) & (rules["rule"] == "mean_probabilities")].set_index("members")
        arms = methods[(methods["data"] == name) & (methods["sweep"] == MAIN)].set_index(["method", "members"])
        for members in ensembles.index:
            whole = _cost(measured.loc[TEACHER], members)
            known = {"data": name, "members": members}
            rows.append({**known, "what": ENSEMBLE, "saved": math.nan, **whole, **_accuracy(ensembles.loc[members])})
            for method in learners:
                cost = _cost(measured.loc[network_of(method, members, measured.index)], 1)
                saved = {"saved": whole["macs"] / cost["macs"]}
                rows.append({**known, "what": method, **cost, **saved, **_accuracy(arms.loc[(method, members)])})
    return pd.DataFrame(rows)


def network_of(method: str, members: int, measured: Collection[str]) -> str:
    """Return the name under which the costs of this network were measured: those of one architecture are the same."""
    own = f"{method}_k{members}"
    return own if own in measured else TEACHER if method == TEACHER else ONE_TEACHER


def _cost(measured: pd.Series, times: int) -> dict[str, float]:
    return {
        "parameters": times * measured["parameters"],
        "macs": times * measured["macs"],
        "milliseconds": times * 1000 / measured["images_per_second"],
    }


def _accuracy(means: pd.Series) -> dict[str, float]:
    return {each: means[each] for each in ("accuracy", "accuracy_error")}
