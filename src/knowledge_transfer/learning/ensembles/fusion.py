"""Fusion: the rules that turn the members' logits into one distribution over the classes.

A new rule is a function here and its line in `_RULES`; a rule fitted on validation has its fit in `fusion_weights`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.config import did_you_mean
from knowledge_transfer.learning.ensembles.fusion_weights import FITTED_RULES, stacked_logits
from knowledge_transfer.learning.ensembles.voting import VOTING_RULES, vote

__all__ = ["FITTED_RULES", "FUSION_RULES", "SEPARATE", "VOTING_RULES", "fuse", "teacher_logits"]

# No rule of fusion: the objective has one term for each member, none for their ensemble.
SEPARATE = "separate"


def fuse(logits: Tensor, rule: str, *, temperature: float = 1.0, weights: Tensor | None = None) -> Tensor:
    """Return the ensemble's distribution, float32 [B, C], rows summing to 1, from the members' logits [M, B, C].

    A vote gives 1 to the elected class and 0 to the others, at any temperature. `weights` are those that a fitted rule
    got from `fusion_weights.FITS`; other rules do not read them. Raises ValueError for an unknown rule, other shapes,
    and weights that are missing where needed, negative, or do not sum to 1 where they must.
    """
    if rule not in FUSION_RULES and rule not in VOTING_RULES:
        raise ValueError(f"unknown fusion '{rule}'{did_you_mean(rule, (*FUSION_RULES, *VOTING_RULES))}")
    if logits.ndim != 3 or not len(logits):
        raise ValueError(f"logits must be [members, images, classes], got {list(logits.shape)}")
    if rule in VOTING_RULES:
        return F.one_hot(vote(logits, rule), logits.shape[2]).float()
    if weights is None and rule in FITTED_RULES:
        raise ValueError(f"fusion '{rule}' needs weights, which are fitted on validation")
    return _RULES[rule](logits.float(), temperature, None if weights is None else weights.to(logits.device).float())


def teacher_logits(logits: Tensor, rule: str, *, temperature: float, weights: Tensor | None = None) -> Tensor:
    """Return float32 [B, C], all finite, whose softmax at `temperature` is `fuse(logits, rule, ...)`.

    Probabilities below the smallest normal float32, about 1e-38, count as that. Raises what `fuse` raises.
    """
    distribution = fuse(logits, rule, temperature=temperature, weights=weights)
    return temperature * distribution.clamp(min=torch.finfo(torch.float32).tiny).log()


def _mean_probabilities(logits: Tensor, temperature: float, _: Tensor | None) -> Tensor:
    """Return the mean over members of softmax(z/T)."""
    return (logits / temperature).softmax(dim=2).mean(dim=0)


def _mean_logits(logits: Tensor, temperature: float, _: Tensor | None) -> Tensor:
    """Return the softmax of the mean of z/T: the members' geometric mean, normalised."""
    return (logits.mean(dim=0) / temperature).softmax(dim=1)


def _weighted(logits: Tensor, temperature: float, weights: Tensor) -> Tensor:
    """Return the mean of softmax(z/T) under weights [M] that sum to 1."""
    _require_member_weights(weights, logits)
    if not math.isclose(float(weights.sum()), 1, abs_tol=1e-4):
        raise ValueError(f"weights must sum to 1, got {weights.tolist()}")
    return _mixture(logits, temperature, weights.unsqueeze(1))


def _calibrated(logits: Tensor, temperature: float, weights: Tensor) -> Tensor:
    """Return the mean of softmax(z/(t T)) under the members' weights, `weights` [M, 2] of weight and t."""
    _require_shape(weights, logits, (len(logits), 2))
    share, own = weights.unbind(dim=1)
    # Of some of the members the weights no longer sum to 1.
    known = share / share.sum() if share.sum() > 0 else torch.full_like(share, 1 / len(share))
    return _mixture(logits / own.view(-1, 1, 1), temperature, known.unsqueeze(1))


def _by_confidence(logits: Tensor, temperature: float, _: Tensor | None) -> Tensor:
    """Return the mean of softmax(z/T) under weights that follow, for each image, 1 - H(softmax(z)) / log C."""
    log_probabilities = logits.log_softmax(dim=2)
    entropy = -(log_probabilities.exp() * log_probabilities).sum(dim=2)
    confidence = (1 - entropy / math.log(logits.shape[2])).clamp(min=0)
    total = confidence.sum(dim=0)
    # The rounding of 1 - 1 in float32 is about 1e-7: below ten times that, a ratio would be noise.
    return _mixture(logits, temperature, torch.where(total > 1e-6, confidence / total, 1 / len(logits)))


def _boosted(logits: Tensor, temperature: float, weights: Tensor) -> Tensor:
    """Return the softmax of v/T, v the sum of the weights [M] of the members that choose the class.

    A weight is the log of how much likelier the chosen class is. Of members that err independently, and evenly among
    the other classes, v are the logits of the posterior. Ties go to the higher sum of probabilities.
    """
    _require_member_weights(weights, logits)
    votes = (weights.view(-1, 1, 1) * F.one_hot(logits.argmax(dim=2), logits.shape[2])).sum(dim=0)
    # Too little to change the order of the votes, and more than the rounding of equal sums.
    return ((votes + 1e-3 * logits.softmax(dim=2).mean(dim=0)) / temperature).softmax(dim=1)


def _stacked(logits: Tensor, temperature: float, weights: Tensor) -> Tensor:
    """Return the softmax of u/T, u the logits of the layer [M, C + 1, C]."""
    members, _, classes = logits.shape
    _require_shape(weights, logits, (members, classes + 1, classes))
    return (stacked_logits(logits, weights) / temperature).softmax(dim=1)


_RULES: dict[str, Callable[[Tensor, float, Any], Tensor]] = {
    "mean_probabilities": _mean_probabilities,
    "mean_logits": _mean_logits,
    "weighted": _weighted,
    "calibrated": _calibrated,
    "confidence": _by_confidence,
    "boosted": _boosted,
    "stacked": _stacked,
}
FUSION_RULES = tuple(_RULES)


def _mixture(logits: Tensor, temperature: float, weights: Tensor) -> Tensor:
    """Return the mean of softmax(z/T) under the weights [M, B], or [M, 1] of every image."""
    return (weights.unsqueeze(2) * (logits / temperature).softmax(dim=2)).sum(dim=0)


def _require_member_weights(weights: Tensor, logits: Tensor) -> None:
    _require_shape(weights, logits, (len(logits),))
    if not bool((weights >= 0).all()):
        raise ValueError(f"weights must not be negative, got {weights.tolist()}")


def _require_shape(weights: Tensor, logits: Tensor, shape: tuple[int, ...]) -> None:
    if weights.shape != shape:
        raise ValueError(f"{len(logits)} members but weights of shape {list(weights.shape)}, not {list(shape)}")
