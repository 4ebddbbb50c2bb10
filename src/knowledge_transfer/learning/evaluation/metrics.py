"""Metrics: how good answers are, and whether one model's are better than another's on the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_ECE_BINS = 15


@dataclass(frozen=True)
class Score:
    """Accuracy in [0, 1]; mean negative log-likelihood of the labels, in nats; expected calibration error in [0, 1]."""

    accuracy: float
    nll: float
    ece: float


@dataclass(frozen=True)
class Paired:
    """Accuracy of a less accuracy of b on the same images, its standard error, and McNemar's exact p-value."""

    difference: float
    standard_error: float
    p_value: float


@dataclass(frozen=True)
class Reliability:
    """The answers of one bin of confidence: how many, how sure they were on average, how often they were right."""

    images: int
    confidence: float
    accuracy: float


def score(probabilities: Tensor, labels: Tensor) -> Score:
    """Return the score of `probabilities` [N, C] against `labels` int64 [N].

    The calibration error has 15 equal bins of confidence (Naeini 2015, Guo 2017). A label's probability below the
    smallest normal float32 counts as that. Raises ValueError when shapes do not fit or rows do not sum to 1.
    """
    # Only here: it imports for more than a second, and a process that trains has no use for it.
    from torchmetrics.functional.classification import multiclass_calibration_error

    if probabilities.ndim != 2 or not len(labels) or labels.shape != probabilities.shape[:1]:
        shapes = f"{list(probabilities.shape)} and {list(labels.shape)}"
        raise ValueError(f"probabilities and labels must be [N, C] and [N], got {shapes}")
    probabilities = probabilities.float()
    # Written so that NaN fails too; logits would otherwise be taken for probabilities without a word.
    if not bool(((probabilities.sum(dim=1) - 1).abs() < 1e-3).all()) or bool((probabilities < 0).any()):
        raise ValueError("probabilities must not be negative and must sum to 1 in each row")
    # torchmetrics takes a value that rounding put above 1 for a logit and applies a softmax to everything.
    probabilities = probabilities.clamp(max=1)
    right = probabilities.gather(1, labels.unsqueeze(1)).clamp(min=torch.finfo(torch.float32).tiny)
    ece = multiclass_calibration_error(probabilities, labels, probabilities.shape[1], n_bins=_ECE_BINS, norm="l1")
    return Score(
        accuracy=float((probabilities.argmax(dim=1) == labels).double().mean()),
        nll=float(-right.double().log().mean()),
        ece=float(ece),
    )


def reliability(probabilities: Tensor, labels: Tensor) -> list[Reliability]:
    """Return the bins of the calibration error of `score` that are not empty, least confident first."""
    confidence, answers = probabilities.max(dim=1)
    bins = (confidence * _ECE_BINS).long().clamp(max=_ECE_BINS - 1)
    right = answers == labels
    return [
        Reliability(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].double().mean()))
        for inside in (bins == number for number in range(_ECE_BINS))
        if bool(inside.any())
    ]


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return int64 [C, C]: in row i and column j, how many images of class i were called j.

    `predicted` and `labels` are int64 [N]. Raises ValueError when their shapes differ or a value is no class index.
    """
    if predicted.shape != labels.shape or predicted.ndim != 1:
        raise ValueError(f"predictions {list(predicted.shape)} and labels {list(labels.shape)}, not both [N]")
    both = torch.stack([labels, predicted])
    if bool(((both < 0) | (both >= classes)).any()):
        raise ValueError(f"predictions and labels must be in 0..{classes - 1}")
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def agreement(predicted: Tensor) -> Tensor:
    """Return float32 [M, M]: the fraction of images on which two members answer alike, from their answers [M, N]."""
    return torch.stack([(predicted == answers).float().mean(dim=1) for answers in predicted])


def standard_error(accuracy: float, n: int) -> float:
    """Return the binomial standard error of an accuracy in [0, 1] measured on `n` images: sqrt(a (1 - a) / n)."""
    if not 0 <= accuracy <= 1 or n < 1:
        raise ValueError(f"accuracy must be in [0, 1] and n positive, got {accuracy} and {n}")
    return math.sqrt(accuracy * (1 - accuracy) / n)


def mcnemar(correct_a: Tensor, correct_b: Tensor) -> Paired:
    """Return the comparison of two models from which images, bool [N], each got right.

    The p-value is two-sided and exact: of the images that only one model got right, each is as likely a's as b's under
    the null hypothesis (McNemar 1947). Raises ValueError unless both are bool [N] of one length.
    """
    n, only_a, only_b = _discordant(correct_a, correct_b)
    spread = max(only_a + only_b - (only_a - only_b) ** 2 / n, 0)
    return Paired((only_a - only_b) / n, math.sqrt(spread) / n, _two_sided(min(only_a, only_b), only_a + only_b))


def paired_bootstrap(correct_a: Tensor, correct_b: Tensor, *, samples: int, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile interval (low, high) of accuracy a less accuracy b, images resampled in pairs.

    `correct_a` and `correct_b` are bool [N]; `samples` resamples are drawn by `seed`. Raises what `mcnemar` raises.
    """
    n, only_a, only_b = _discordant(correct_a, correct_b)
    generator = torch.Generator().manual_seed(seed)
    # A resample of the images matters only through two of its counts, and these are multinomial: no index is drawn.
    trials = torch.full((samples,), n, dtype=torch.float64)
    wins = torch.binomial(trials, torch.full_like(trials, only_a / n), generator=generator)
    share = torch.full_like(trials, only_b / max(n - only_a, 1))
    losses = torch.binomial(trials - wins, share, generator=generator)
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
    log_of_all = n * math.log(2)
    logs = (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - log_of_all for k in range(fewer + 1))
    return min(1.0, 2 * math.fsum(math.exp(log) for log in logs))
