"""Losses that know which domain of a mix an image is of."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.data.domains import Parts


def soft_loss_by_block(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    parts: Parts,
) -> Tensor:
    """Return the mean over the batch of `loss`, each image judged within its own domain's classes.

    `student_logits` and `teacher_logits` [B, C], `labels` int64 [B] are of the union; what either says outside the
    image's block is not read, so the gradient there is exactly zero. The shares of the domains are those of the batch.
    """
    terms = []
    for rows, classes in parts:
        own = labels[rows]
        if len(own):
            within = loss(student_logits[rows][:, classes], teacher_logits[rows][:, classes], own - classes.start)
            terms.append(within * (len(own) / len(labels)))
    return torch.stack(terms).sum()


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float, parts: Parts) -> Tensor:
    """Return the mean cross-entropy in nats with `targets` [B, C] smoothed over the classes of each image's block.

    `logits` [B, C]. The share `smoothing` goes in equal parts to the domain's own classes (Szegedy 2016, in one
    domain): which domain an image is of is not in doubt.
    """
    if len(parts) == 1 or not smoothing:
        return F.cross_entropy(logits, targets, label_smoothing=smoothing)
    uniform = torch.zeros_like(targets)
    for rows, classes in parts:
        own = torch.zeros(targets.shape[1], device=targets.device)
        own[classes] = 1 / (classes.stop - classes.start)
        uniform[rows] = own
    return F.cross_entropy(logits, (1 - smoothing) * targets + smoothing * uniform)


def domain_loss(logits: Tensor, parts: Parts) -> Tensor:
    """Return the mean over the batch of -log of the probability that the whole block of the image gets, in nats.

    `logits` [B, C]. It tells a learner which domain an image is of where its label is withheld: cross-entropy is this
    plus the cross-entropy within the block.
    """
    terms = []
    for rows, classes in parts:
        own = logits[rows]
        terms.append((own.logsumexp(1) - own[:, classes].logsumexp(1)).sum())
    return torch.stack(terms).sum() / len(logits)
