"""Heads: several last layers on one body, one for each teacher that is mimicked."""

from __future__ import annotations

import math

from torch import Tensor


def answer_of(said: Tensor) -> Tensor:
    """Return the logits [B, C] of the mean over heads of their distributions, from the heads' logits [B, heads, C].

    They are the logs of its probabilities. Logits [B, C], of a network of one head, are returned as they are.
    """
    if said.ndim == 2:
        return said
    return said.float().log_softmax(dim=2).logsumexp(dim=1) - math.log(said.shape[1])
