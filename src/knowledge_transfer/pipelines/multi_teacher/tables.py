"""Nodes that put what teachers, their ensembles and their learners answered into tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.fitting import FITS
from knowledge_transfer.learning.fusion import FUSION_RULES, VOTING_RULES, fuse
from knowledge_transfer.learning.images import ImageSet
from knowledge_transfer.learning.metrics import score
from knowledge_transfer.learning.soft_labels import SoftLabels
from knowledge_transfer.pipelines.multi_teacher.published import PUBLISHED, is_published
from knowledge_transfer.pipelines.multi_teacher.settings import LABELS, MAIN, ONE_TEACHER, Arm
from knowledge_transfer.pipelines.study_tables import over_seeds, paired, scores

TEACHER, ENSEMBLE = "teacher", "ensemble"
BY_CLASS = "plurality_ties_by_class"  # as the source's code settles every tie
_ARM = ["method", "members", "alpha", "fraction", "sweep"]
Role = tuple[Arm, int]


def score_models(roster: Mapping[str, Role], images: ImageSet, *answers: SoftLabels) -> pd.DataFrame:
    """Return accuracy, NLL and ECE of every model, with the arm and the seed that `roster` has of it."""
    table = pd.concat([scores(said, images) for said in answers], ignore_index=True)
    known = [
        {**{name: getattr(arm, name) for name in _ARM}, "seed": seed}
        for arm, seed in map(roster.__getitem__, table["model"])
    ]
    return pd.concat([table, pd.DataFrame(known)], axis=1)


def fuse_teachers(
    teams: Sequence[tuple[Mapping[str, Any], Sequence[str]]],
    test_images: ImageSet,
    validation_images: ImageSet,
    **answers: SoftLabels,
) -> pd.DataFrame:
    """Return how good each team of teachers is under every rule, a row a rule; `tied` is how often plurality ties.

    A team is what it is called in the table, its seed among it, and its teachers; of teachers that learned from a part
    there is the mean of probabilities alone. `answers` are `test_seed0`, `validation_seed0` and so on.
    """
    rows = []
    for what, names in teams:
        keys = [f"{name}@0" for name in names]
        said = answers[f"test_seed{what['seed']}"].only(keys).logits[:, :, 0].float()
        known = answers[f"validation_seed{what['seed']}"].only(keys).logits[:, :, 0].float()
        for rule, probabilities in _fused(said, known, validation_images.labels, is_whole=what["fraction"] == 1):
            result = score(probabilities, test_images.labels)
            row = {**what, "rule": rule, "accuracy": result.accuracy}
            if rule in FUSION_RULES:
                row |= {"nll": result.nll, "ece": result.ece}
            if rule == "plurality":
                row["tied"] = float(is_tied(said).float().mean())
            rows.append(row)
    return pd.DataFrame(rows)


def _fused(said: Tensor, known: Tensor, labels: Tensor, *, is_whole: bool) -> Iterator[tuple[str, Tensor]]:
    if not is_whole:
        yield "mean_probabilities", fuse(said, "mean_probabilities")
        return
    for rule in (*FUSION_RULES, *VOTING_RULES):
        yield rule, fuse(said, rule, weights=FITS[rule](known, labels) if rule in FITS else None)
    # Of equals `argmax` takes the first.
    yield BY_CLASS, F.one_hot(_counts(said).argmax(1), said.shape[2]).float()


def is_tied(logits: Tensor) -> Tensor:
    """Return bool [B]: whether two classes are first on as many ballots as each other, and on most."""
    counts = _counts(logits).topk(2).values
    return counts[:, 0] == counts[:, 1]


def _counts(logits: Tensor) -> Tensor:
    return F.one_hot(logits.argmax(dim=2), logits.shape[2]).sum(dim=0)


def compare_methods(**tables: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every arm of every data set: means over seeds, what it is beyond labels, and beyond output_avg.

    `tables` are the scores by data set. Differences are paired by seed.
    """
    rows = []
    for name, table in tables.items():
        means = over_seeds(table, _ARM, ["accuracy", "nll", "ece"])
        accuracies = {key: group.groupby("seed")["accuracy"].mean() for key, group in table.groupby(_ARM)}
        labels = next(each for key, each in accuracies.items() if key[0] == LABELS)
        for row in means.to_dict("records"):
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


def compare_rules(**tables: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every rule, number of teachers and data set: means over seeds, and what it is beyond plurality.

    Of teams of teachers that learned from all images. Differences are paired by seed.
    """
    rows = []
    for name, table in tables.items():
        whole = table[table["fraction"] == 1]
        means = over_seeds(whole, ["members", "rule"], ["accuracy", "nll", "tied"])
        accuracies = {key: group.set_index("seed")["accuracy"] for key, group in whole.groupby(["members", "rule"])}
        for row in means.to_dict("records"):
            key = row["members"], row["rule"]
            difference = {} if row["rule"] == "plurality" else paired(accuracies[key], accuracies[key[0], "plurality"])
            rows.append({"data": name, **row, **difference})
    return pd.DataFrame(rows)


def compress(
    learners: Sequence[str], methods: pd.DataFrame, rules: pd.DataFrame, **costs: pd.DataFrame
) -> pd.DataFrame:
    """Return what ensembles of each size cost and give, beside each of the `learners`, networks that learned from them.

    `costs` by data set. Latency is in milliseconds an image, in batches; members answer one after another.
    """
    rows = []
    for name, table in costs.items():
        measured = table.set_index("role")
        ensembles = rules[(rules["data"] == name) & (rules["rule"] == "mean_probabilities")].set_index("members")
        arms = methods[(methods["data"] == name) & (methods["sweep"] == MAIN)].set_index(["method", "members"])
        for members in ensembles.index:
            whole = _cost(measured.loc[TEACHER], members)
            rows.append({"data": name, "members": members, "what": ENSEMBLE, **whole, **_right(ensembles.loc[members])})
            for method in learners:
                cost = _cost(measured.loc[role_of(method, members, measured.index)], 1)
                saved = {"saved": whole["macs"] / cost["macs"]}
                row = {"data": name, "members": members, "what": method, **cost, **saved}
                rows.append({**row, **_right(arms.loc[(method, members)])})
    return pd.DataFrame(rows)


def role_of(method: str, members: int, roles: Collection[str]) -> str:
    """Return under which role the costs of a model were measured: networks of one architecture cost the same."""
    own = f"{method}_k{members}"
    return own if own in roles else TEACHER if method == TEACHER else ONE_TEACHER


def _cost(measured: pd.Series, times: int) -> dict[str, float]:
    return {
        "parameters": times * measured["parameters"],
        "macs": times * measured["macs"],
        "milliseconds": times * 1000 / measured["images_per_second"],
    }


def _right(means: pd.Series) -> dict[str, float]:
    return {each: means[each] for each in ("accuracy", "accuracy_error")}


def gather_rows(**tables: pd.DataFrame) -> pd.DataFrame:
    """Return what is told of every model to programs; `tables` are `<data>_scores` and `<data>_costs`."""
    found = []
    for name in [each.removesuffix("_scores") for each in tables if each.endswith("_scores")]:
        table, costs = tables[f"{name}_scores"], tables[f"{name}_costs"].set_index("role")
        roles = [role_of(row.method, row.members, costs.index) for row in table.itertuples()]
        measured = costs.loc[roles, ["parameters", "images_per_second"]].reset_index(drop=True)
        stages = [f"{name}_{TEACHER if method == TEACHER else 'learner'}" for method in table["method"]]
        found.append(pd.concat([table.assign(stage=stages), measured], axis=1))
    return pd.concat(found, ignore_index=True)
