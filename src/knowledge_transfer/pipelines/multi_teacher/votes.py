"""Nodes that fuse the same teachers by every rule, and compare the rules with plurality."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.experiment.study_tables import key_of
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES, fuse
from knowledge_transfer.learning.ensembles.fusion_weights import FITS
from knowledge_transfer.learning.evaluation.metrics import SCORES, score
from knowledge_transfer.reporting.statistics import over_seeds, paired

BY_CLASS = "plurality_ties_by_class"  # as the source's code settles every tie


def fuse_teachers(
    teams: Sequence[tuple[Mapping[str, Any], Sequence[str]]],
    test_images: ImageSet,
    validation_images: ImageSet,
    **predictions: SoftLabels,
) -> pd.DataFrame:
    """Return the scores of each team of teachers under every rule, and the share of images on which plurality ties.

    A team is its columns in the table and its teachers; one that saw a subset has the mean of probabilities alone.
    `predictions` are `test_seed0`, `validation_seed0` and so on.
    """
    rows = []
    for columns, names in teams:
        keys = [key_of(name) for name in names]
        test, validation = (
            predictions[f"{part}_seed{columns['seed']}"].only(keys).logits[:, :, 0].float()
            for part in ("test", "validation")
        )
        is_whole = columns["fraction"] == 1
        for rule, probabilities in _fused(test, validation, validation_images.labels, is_whole=is_whole):
            result = score(probabilities, test_images.labels)
            measured = SCORES if rule in FUSION_RULES else ("accuracy",)
            row = {**columns, "rule": rule, **{name: getattr(result, name) for name in measured}}
            if rule == "plurality":
                row["tied"] = float(is_tied(test).float().mean())
            rows.append(row)
    return pd.DataFrame(rows)


def _fused(logits: Tensor, validation: Tensor, labels: Tensor, *, is_whole: bool) -> Iterator[tuple[str, Tensor]]:
    if not is_whole:
        yield "mean_probabilities", fuse(logits, "mean_probabilities")
        return
    for rule in (*FUSION_RULES, *VOTING_RULES):
        yield rule, fuse(logits, rule, weights=FITS[rule](validation, labels) if rule in FITS else None)
    # Of equals `argmax` takes the first.
    yield BY_CLASS, F.one_hot(_counts(logits).argmax(1), logits.shape[2]).float()


def is_tied(logits: Tensor) -> Tensor:
    """Return bool [B]: whether two classes are first on the same, largest number of ballots. `logits` are [M, B, C]."""
    counts = _counts(logits).topk(2).values
    return counts[:, 0] == counts[:, 1]


def _counts(logits: Tensor) -> Tensor:
    return F.one_hot(logits.argmax(dim=2), logits.shape[2]).sum(dim=0)


def compare_rules(**tables: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds for every rule, number of teachers and data set, and paired differences to plurality."""
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
