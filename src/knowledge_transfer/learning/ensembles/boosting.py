"""Boosting by SAMME, AdaBoost for several classes (Zhu, Zou, Rosset, Hastie 2009, "Multi-class AdaBoost")."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from knowledge_transfer.learning.ensembles.fusion_weights import member_weight

_Member = TypeVar("_Member")


@dataclass(frozen=True)
class Boosted(Generic[_Member]):
    """Members in the order of training, each with its weighted error on the training images and its weight."""

    members: list[_Member]
    errors: list[float]
    weights: list[float]


def reweighted(image_weights: Tensor, wrong: Tensor, weight: float) -> Tensor:
    """Return the image weights [N], of mean 1, times e^weight where the member was wrong, bool [N]; mean 1."""
    raised = image_weights.double() * torch.where(wrong, math.exp(weight), 1.0)
    return raised * (len(raised) / raised.sum())


def boost(
    count: int,
    labels: Tensor,
    classes: int,
    train: Callable[[int, Tensor | None], _Member],
    predict: Callable[[_Member], Tensor],
) -> Boosted[_Member]:
    """Return `count` members, each trained on images weighted by the errors of those before it.

    `train` makes member number i from image weights float64 [N] of mean 1 (none: all equal). `predict` returns its
    class for each training image, int64 [N]. After a member that is no better than a guess the weights are equal again.
    """
    boosted: Boosted[_Member] = Boosted([], [], [])
    weights = torch.ones(len(labels), dtype=torch.float64)
    for number in range(count):
        is_even = bool((weights == 1).all())
        member = train(number, None if is_even else weights)
        wrong = predict(member) != labels
        error = float((weights * wrong).sum() / weights.sum())
        weight = member_weight(error, classes, len(labels))
        weights = reweighted(weights, wrong, weight) if weight else torch.ones_like(weights)
        boosted.members.append(member)
        boosted.errors.append(error)
        boosted.weights.append(weight)
    return boosted
