"""Whether a model has learned anything: it answers more than one class, and better than a guess."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ONE_SIDED = 1.645  # standard errors: 19 of 20 guesses are below


def chance(labels: Tensor) -> float:
    """Return the accuracy, in [0, 1], of whoever always answers the most frequent of `labels` int64 [N]."""
    return float(torch.bincount(labels).max()) / len(labels)


def collapse(predicted: Tensor, labels: Tensor) -> str:
    """Return what is wrong with predictions int64 [N] of `labels` int64 [N], the empty string where nothing is.

    A model has collapsed that answers one class for all images of several, or is right no more often than chance:
    within 1.645 standard errors of the share of the most frequent class.
    """
    guess = chance(labels)
    if guess == 1:
        return ""
    accuracy = float((predicted == labels).double().mean())
    found = f"{100 * accuracy:.1f} % right on validation, chance {100 * guess:.1f} %"
    if bool((predicted == predicted[0]).all()):
        return f"answers one class for every image: {found}"
    bound = guess + _ONE_SIDED * math.sqrt(guess * (1 - guess) / len(labels))
    return f"no better than chance: {found}" if accuracy <= bound else ""
