"""Tables over seeds: means, standard errors, and whether a difference between arms is more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from scipy import stats

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.evaluation.metrics import score

_ROUNDING = 1e-12


def scores(soft_labels: SoftLabels, images: ImageSet) -> pd.DataFrame:
    """Return accuracy, NLL (nats) and ECE of each model on the labelled images, one row a model."""
    rows = []
    for model, logits in zip(soft_labels.members, soft_labels.logits[:, :, 0].float(), strict=True):
        result = score(logits.softmax(dim=1), images.labels)
        rows.append((model.partition("@")[0], len(images), result.accuracy, result.nll, result.ece))
    return pd.DataFrame(rows, columns=["model", "images", "accuracy", "nll", "ece"])


def over_seeds(table: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Return for each group the mean of each value over its rows, one a seed, and `<value>_error`, its standard error.

    The error of a single seed is not a number. `seeds` counts the rows.
    """
    rows = []
    for key, group in table.groupby(list(by), sort=False):
        named = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        means = {value: group[value].mean() for value in values}
        errors = {f"{value}_error": group[value].std(ddof=1) / math.sqrt(len(group)) for value in values}
        rows.append({**named, "seeds": len(group), **means, **errors})
    return pd.DataFrame(rows)


def paired(a: pd.Series, b: pd.Series) -> dict[str, float | str]:
    """Return the mean difference of a less b, seed by seed, its standard error, Student's p and a verdict.

    Both are indexed by seed. The verdicts are those of the main experiment: gain or loss for p < 0.05, none for less
    than one standard error, not beyond chance between. Where all seeds differ by the same amount there is no p, and the
    verdict is not beyond chance. With a single seed there is no error, and the verdict is one seed.
    """
    differences = (a - b).dropna()
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return {"difference": mean, "standard_error": math.nan, "p_value": math.nan, "verdict": "one seed"}
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    # Seeds that differ by the same few images have no spread but rounding, which is no evidence.
    if error < _ROUNDING:
        error, p = 0.0, 1.0 if abs(mean) < _ROUNDING else math.nan
    else:
        p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    verdict = "none" if abs(mean) <= error else "not beyond chance" if not p < 0.05 else "gain" if mean > 0 else "loss"
    return {"difference": mean, "standard_error": error, "p_value": p, "verdict": verdict}
