"""Nodes that ask the same teachers under every rule of fusion, and say which rules are better than plurality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES, fuse
from knowledge_transfer.learning.ensembles.fusion_weights import FITS
from knowledge_transfer.learning.evaluation.metrics import score
from knowledge_transfer.reporting.statistics import over_seeds, paired

BY_CLASS = "plurality_ties_by_class"  # as the source's code settles every tie


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


def compare_rules(**tables: pd.DataFrame) -> pd.DataFrame:
    """Return a row for every rule, number of teachers and data set: means over seeds, and what it is beyond plurality.

    Of teams of teachers that learned from all images. Differences are paired by seed.
    """
    rows = []
    for name, table in tables.items():
        whole = table[table["fraction"] == 1]
        means = over_seeds(whole, ["members", "rule"], ["accuracy", "nll", "tied"])
        accuracies = {key: group.set_index("seed")["accuracy"] for key, group in whole.groupby(["members", "rule"])}
        for row in cast("list[dict[str, Any]]", means.to_dict("records")):
            key = row["members"], row["rule"]
            difference: dict[str, Any] = (
                {} if row["rule"] == "plurality" else paired(accuracies[key], accuracies[key[0], "plurality"])
            )
            rows.append({"data": name, **row, **difference})
    return pd.DataFrame(rows)
