"""Fusion: the rules that turn the members' logits into one distribution over the classes."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.config import did_you_mean
from knowledge_transfer.learning.ensembles.fusion_weights import FITTED_RULES, stacked_logits, validation_weights
from knowledge_transfer.learning.ensembles.voting import VOTING_RULES, vote

FUSION_RULES: tuple[str, ...] = ("mean_probabilities", "mean_logits", "weighted", "confidence", "boosted", "stacked")
# Not a rule of fusion but instead of one: a objective from each member, not from their ensemble.
SEPARATE = "separate"

__all__ = ["FITTED_RULES", "FUSION_RULES", "SEPARATE", "VOTING_RULES", "fuse", "teacher_logits", "validation_weights"]


def fuse(logits: Tensor, rule: str, *, temperature: float = 1.0, weights: Tensor | None = None) -> Tensor:
    """Return the ensemble's distribution, float32 [B, C], rows summing to 1, from the members' logits [M, B, C].

    mean_probabilities: the mean over members of softmax(z/T). mean_logits: softmax of the mean of z/T, which is the
    geometric mean of those, normalised. confidence: the mean of softmax(z/T) under weights that follow, for each image,
    1 - H(softmax(z)) / log C. A vote: 1 for the class elected, 0 for the others, at any temperature.

    What these were fitted to on validation (`fitting`) is given as `weights`; others do not read it. weighted: the
    mean of softmax(z/T) under weights [M]. boosted: softmax of v/T, v the sum of the weights [M] of the members that
    choose the class. stacked: softmax of u/T, u the logits of the layer [M, C + 1, C].

    boosted counts choices, as SAMME does, for its weight is the evidence of a choice: of a member that errs with e,
    evenly among the C - 1 other classes, it is the log of how much likelier the chosen class is, so that for members
    that err independently v are the logits of the posterior. Ties go to the higher sum of probabilities.

    Raises ValueError for an unknown rule, logits that are not [M, B, C], and weights that are missing where needed or
    of another shape, negative, or, where they are shares, do not sum to 1.
    """
    if rule not in FUSION_RULES and rule not in VOTING_RULES:
        raise ValueError(f"unknown fusion '{rule}'{did_you_mean(rule, (*FUSION_RULES, *VOTING_RULES))}")
    if logits.ndim != 3 or not len(logits):
        raise ValueError(f"logits must be [members, images, classes], got {list(logits.shape)}")
    if rule in VOTING_RULES:
        return F.one_hot(vote(logits, rule), logits.shape[2]).float()
    logits = logits.float()
    if rule in ("mean_logits", "boosted", "stacked"):
        return (_logits(logits, rule, weights) / temperature).softmax(dim=1)
    probabilities = (logits / temperature).softmax(dim=2)
    if rule == "mean_probabilities":
        return probabilities.mean(dim=0)
    shares = _confidence(logits) if rule == "confidence" else _shares(weights, logits)
    return (shares.unsqueeze(2) * probabilities).sum(dim=0)


def teacher_logits(logits: Tensor, rule: str, *, temperature: float, weights: Tensor | None = None) -> Tensor:
    """Return float32 [B, C], all finite, whose softmax at `temperature` is `fuse(logits, rule, ...)`.

    Probabilities below the smallest normal float32, about 1e-38, count as that. Raises what `fuse` raises.
    """
    distribution = fuse(logits, rule, temperature=temperature, weights=weights)
    return temperature * distribution.clamp(min=torch.finfo(torch.float32).tiny).log()


def _logits(logits: Tensor, rule: str, weights: Tensor | None) -> Tensor:
    """Return the fused logits [B, C] of a rule that has them."""
    members, _, classes = logits.shape
    if rule == "mean_logits":
        return logits.mean(dim=0)
    if rule == "stacked":
        return stacked_logits(logits, _checked(weights, rule, logits, (members, classes + 1, classes)))
    shares = _not_negative(_checked(weights, rule, logits, (members,)))
    votes = (shares.view(-1, 1, 1) * F.one_hot(logits.argmax(dim=2), classes)).sum(dim=0)
    # Too little to change what the weights decide, and more than what rounding leaves between equal sums.
    return votes + 1e-3 * logits.softmax(dim=2).mean(dim=0)


def _shares(weights: Tensor | None, logits: Tensor) -> Tensor:
    """Return the weights of the weighted mean as [M, 1] beside `logits`."""
    shares = _not_negative(_checked(weights, "weighted", logits, (len(logits),)))
    if not math.isclose(float(shares.sum()), 1, abs_tol=1e-4):
        raise ValueError(f"weights must sum to 1, got {shares.tolist()}")
    return shares.unsqueeze(1)


def _checked(weights: Tensor | None, rule: str, logits: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return what `rule` was fitted to, of the type and on the device of `logits`."""
    if weights is None:
        raise ValueError(f"fusion '{rule}' needs weights, which are fitted on validation")
    if weights.shape != shape:
        raise ValueError(f"{len(logits)} members but weights of shape {list(weights.shape)}, not {list(shape)}")
    return weights.to(logits)


def _not_negative(weights: Tensor) -> Tensor:
    if not bool((weights >= 0).all()):
        raise ValueError(f"weights must not be negative, got {weights.tolist()}")
    return weights


def _confidence(logits: Tensor) -> Tensor:
    """Return each member's weight on each image [M, B]; equal weights where no member leans to any class."""
    log_probabilities = logits.log_softmax(dim=2)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=2)
    confidence = (1 - entropy / math.log(logits.shape[2])).clamp(min=0)
    total = confidence.sum(dim=0)
    # What float32 leaves of 1 - 1 is about 1e-7: below ten times that, a ratio would be noise.
    return torch.where(total > 1e-6, confidence / total, 1 / len(logits))
