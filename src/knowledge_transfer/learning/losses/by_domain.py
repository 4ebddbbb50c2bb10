"""Losses that read which domain of a mix each image belongs to."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.data.domains import Parts
from knowledge_transfer.learning.losses.soft_loss import LossFunction
from knowledge_transfer.learning.models.network import mean_of_heads


def soft_loss_to(
    loss: LossFunction, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, parts: Parts
) -> Tensor:
    """Return the loss to one teacher [B, C], or its mean over separate teachers [B, K, C], a scalar.

    Each separate teacher has its own head in `student_logits` [B, K, C], or all of them teach the one head [B, C]
    (Zuchniak 2023, 2302.07215: mimic_all and loss_avg). Raises ValueError where heads and teachers differ in number.
    """
    if teacher_logits.ndim == 2:
        return soft_loss_by_block(loss, mean_of_heads(student_logits), teacher_logits, labels, parts)
    teachers = teacher_logits.unbind(1)
    heads = student_logits.unbind(1) if student_logits.ndim == 3 else [student_logits] * len(teachers)
    each = [soft_loss_by_block(loss, q, p, labels, parts) for q, p in zip(heads, teachers, strict=True)]
    return torch.stack(each).mean()


def soft_loss_by_block(
    loss: LossFunction, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, parts: Parts
) -> Tensor:
    """Return the mean over the batch of `loss`, computed for each image within the classes of its own domain.

    `student_logits` and `teacher_logits` [B, C], `labels` int64 [B] are of the union of classes. Logits outside the
    image's block are not read, so the gradient there is exactly zero. A domain weighs as many images as the batch has.
    """
    terms = []
    for rows, classes in parts:
        own = labels[rows]
        if len(own):
            within = loss(student_logits[rows][:, classes], teacher_logits[rows][:, classes], own - classes.start)
            terms.append(within * (len(own) / len(labels)))
    return torch.stack(terms).sum()


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float, parts: Parts) -> Tensor:
    """Return the mean cross-entropy in nats of `logits` [B, C] with smoothed `targets` [B, C].

    `smoothing` in [0, 1) goes in equal parts to the classes of the image's own domain (Szegedy 2016, in one domain):
    which domain an image belongs to is not in doubt.
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
    """Return the mean over the batch of -log of the probability of the image's whole block, in nats.

    `logits` [B, C]. A student learns from it which domain an image belongs to where the label is withheld:
    cross-entropy is this plus the cross-entropy within the block.
    """
    terms = []
    for rows, classes in parts:
        own = logits[rows]
        terms.append((own.logsumexp(1) - own[:, classes].logsumexp(1)).sum())
    return torch.stack(terms).sum() / len(logits)
