"""Metrics of predictions, and comparisons of two models on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

_BINS = 15


@dataclass(frozen=True)
class Score:
    """Accuracy in [0, 1]; mean negative log-likelihood of the labels, in nats; expected calibration error in [0, 1].

    Each field is a column of every table of models. All but the accuracy need a distribution, which a vote lacks.
    """

    accuracy: float
    nll: float
    ece: float


SCORES = tuple(field.name for field in fields(Score))
OF_DISTRIBUTIONS = tuple(name for name in SCORES if name != "accuracy")


@dataclass(frozen=True)
class Paired:
    """Accuracy of a less accuracy of b on the same images, its standard error, and McNemar's exact p-value."""

    difference: float
    standard_error: float
    p_value: float


@dataclass(frozen=True)
class Reliability:
    """One bin of predictions: number of images, mean confidence in [0, 1], accuracy in [0, 1]."""

    images: int
    confidence: float
    accuracy: float


def score(probabilities: Tensor, labels: Tensor) -> Score:
    """Return the score of `probabilities` [N, C] against `labels` int64 [N].

    The calibration error has 15 equal bins of confidence (Naeini 2015, Guo 2017). A label's probability below the
    smallest normal float32 counts as that. Raises ValueError when shapes do not fit or rows do not sum to 1.
    """
    _require_distributions(probabilities, labels)
    # Rounding may put a certainty above 1.
    probabilities = probabilities.float().clamp(max=1)
    of_label = probabilities.gather(1, labels.unsqueeze(1)).clamp(min=torch.finfo(torch.float32).tiny)
    confidence, predicted = probabilities.max(dim=1)
    right = predicted == labels
    return Score(
        accuracy=float(right.double().mean()),
        nll=float(-of_label.double().log().mean()),
        ece=_calibration_error(confidence, right),
    )


def reliability(probabilities: Tensor, labels: Tensor) -> list[Reliability]:
    """Return the 15 equal bins of confidence that are not empty, least confident first.

    `probabilities` float [N, C], rows summing to 1; `labels` int64 [N]. Raises what `score` raises.
    """
    _require_distributions(probabilities, labels)
    confidence, predicted = probabilities.max(dim=1)
    bins = _bins(confidence).clamp(max=_BINS - 1)
    right = predicted == labels
    return [
        Reliability(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].double().mean()))
        for inside in (bins == number for number in range(_BINS))
        if bool(inside.any())
    ]


def _require_distributions(probabilities: Tensor, labels: Tensor) -> None:
    if probabilities.ndim != 2 or not len(labels) or labels.shape != probabilities.shape[:1]:
        shapes = f"{list(probabilities.shape)} and {list(labels.shape)}"
        raise ValueError(f"probabilities and labels must be [N, C] and [N], got {shapes}")
    # Written so that NaN fails too.
    if not bool(((probabilities.float().sum(dim=1) - 1).abs() < 1e-3).all()) or bool((probabilities < 0).any()):
        raise ValueError("probabilities must not be negative and must sum to 1 in each row")


def _calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Return the mean over images of |accuracy - confidence| of their bin, from float32 [N] and bool [N]."""
    bins = _bins(confidence)
    none = confidence.new_zeros(_BINS + 1)
    count, sure, correct = (
        none.scatter_add(0, bins, each) for each in (torch.ones_like(confidence), confidence, right.float())
    )
    gap = (correct / count).nan_to_num() - (sure / count).nan_to_num()
    return float((gap.abs() * (count / count.sum())).sum())


def _bins(confidence: Tensor) -> Tensor:
    """Return int64 [N], the bin 0 … 14 of each confidence; 15 for a confidence of exactly 1."""
    edges = torch.linspace(0, 1, _BINS + 1, device=confidence.device)
    return torch.bucketize(confidence, edges, right=True) - 1


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return int64 [C, C]: row i, column j counts the images of class i that were predicted as j.

    `predicted` and `labels` are int64 [N]. Raises ValueError when their shapes differ or a value is no class index.
    """
    if predicted.shape != labels.shape or predicted.ndim != 1:
        raise ValueError(f"predictions {list(predicted.shape)} and labels {list(labels.shape)}, not both [N]")
    both = torch.stack([labels, predicted])
    if bool(((both < 0) | (both >= classes)).any()):
        raise ValueError(f"predictions and labels must be in 0..{classes - 1}")
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def agreement(predicted: Tensor) -> Tensor:
    """Return float32 [M, M]: on which fraction of images two members predict the same class, from int64 [M, N]."""
    return torch.stack([(predicted == member).float().mean(dim=1) for member in predicted])


def standard_error(accuracy: float, n: int) -> float:
    """Return sqrt(a (1 - a) / n). Raises ValueError for an accuracy outside [0, 1] and for `n` images below 1."""
    if not 0 <= accuracy <= 1 or n < 1:
        raise ValueError(f"accuracy must be in [0, 1] and n positive, got {accuracy} and {n}")
    return math.sqrt(accuracy * (1 - accuracy) / n)


def mcnemar(correct_a: Tensor, correct_b: Tensor) -> Paired:
    """Return the comparison of two models from the images, bool [N], that each got right.

    The p-value is two-sided and exact: under the null hypothesis an image that only one model got right is as likely
    a's as b's (McNemar 1947). Raises ValueError unless both are bool [N] of one length.
    """
    n, only_a, only_b = _discordant(correct_a, correct_b)
    spread = max(only_a + only_b - (only_a - only_b) ** 2 / n, 0)
    return Paired((only_a - only_b) / n, math.sqrt(spread) / n, _two_sided(min(only_a, only_b), only_a + only_b))


def paired_bootstrap(correct_a: Tensor, correct_b: Tensor, *, samples: int, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile interval (low, high) of accuracy a less accuracy b over `samples` resamples of images.

    `correct_a` and `correct_b` are bool [N]. Raises what `mcnemar` raises.
    """
    n, only_a, only_b = _discordant(correct_a, correct_b)
    generator = torch.Generator().manual_seed(seed)
    # The difference depends on two counts of a resample alone, and these are multinomial: no index is drawn.
    trials = torch.full((samples,), n, dtype=torch.float64)
    wins = torch.binomial(trials, torch.full_like(trials, only_a / n), generator=generator)
    chance = torch.full_like(trials, only_b / max(n - only_a, 1))
    losses = torch.binomial(trials - wins, chance, generator=generator)
    low, high = torch.quantile((wins - losses) / n, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def _discordant(correct_a: Tensor, correct_b: Tensor) -> tuple[int, int, int]:
    """Return how many images there are, how many only a got right, how many only b."""
    kinds = {(correct.dtype, correct.shape) for correct in (correct_a, correct_b)}
    if kinds != {(torch.bool, torch.Size([correct_a.numel()]))} or not correct_a.numel():
        got = " and ".join(f"{correct.dtype} {list(correct.shape)}" for correct in (correct_a, correct_b))
        raise ValueError(f"both must be bool [N] of the same images, got {got}")
    return len(correct_a), int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())


def _two_sided(fewer: int, n: int) -> float:
    """Return the probability that `n` tosses of a fair coin fall at least as unevenly as `fewer` to the rest."""
    all_ = n * math.log(2)
    logs = (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - all_ for k in range(fewer + 1))
    return min(1.0, 2 * math.fsum(math.exp(log) for log in logs))
