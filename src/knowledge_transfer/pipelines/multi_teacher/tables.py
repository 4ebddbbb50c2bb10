"""Nodes that put what teachers and their learners answered into tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pandas as pd

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.pipelines.multi_teacher.published import PUBLISHED, is_published
from knowledge_transfer.pipelines.multi_teacher.settings import LABELS, Arm
from knowledge_transfer.reporting.statistics import over_seeds, paired, scores

TEACHER = "teacher"
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


def compare_methods(**tables: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every arm of every data set: means over seeds, what it is beyond labels, and beyond output_avg.

    `tables` are the scores by data set. Differences are paired by seed.
    """
    rows = []
    for name, table in tables.items():
        means = over_seeds(table, _ARM, ["accuracy", "nll", "ece"])
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
