"""Losses of single images, and how much each counts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.losses.soft_loss import LossFunction, per_image
from knowledge_transfer.learning.models.network import mean_of_heads

_NO_CERTAINTY = 1e-6  # below which rounding decides


def balanced(images: ImageSet, image_weights: Tensor | None = None) -> Tensor:
    """Return weights of the images, float32 [N] of mean 1, by which every class of a domain weighs the same.

    `image_weights` [N] are kept within a class. Images whose label is withheld keep theirs (none: 1).
    """
    weights = torch.ones(len(images)) if image_weights is None else image_weights.float().clone()
    for position in range(len(images.blocks)):
        rows = images.is_labelled & (images.domains == position)
        total, present = weights[rows].sum(), images.labels[rows].unique()
        for label in present.tolist():
            of_class = images.labels == label
            weights[of_class] *= total / (len(present) * weights[of_class].sum())
    return weights


def alpha_of_each(alpha: float, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Return the weight of each image's soft loss, alpha t / (alpha t + (1 - alpha) s) in [0, 1], [B], no gradient.

    t and s are the certainties of teacher and student, 1 - entropy / log(classes) in [0, 1] at temperature 1, from
    logits [B, C]; several teachers or heads, [B, K, C], count by their mean distribution. Who is as certain as the
    other leaves alpha as it is; so does an image of which neither knows anything.
    """
    theirs, own = (_certainty(mean_of_heads(logits.detach())) for logits in (teacher_logits, student_logits))
    of_teacher, of_student = alpha * theirs, (1 - alpha) * own
    total = of_teacher + of_student
    return torch.where(total > _NO_CERTAINTY, of_teacher / total.clamp_min(_NO_CERTAINTY), alpha)


def _certainty(logits: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(logits.float().softmax(1)).sum(1)
    return (1 - entropy / math.log(logits.shape[1])).clamp_min(0)


def soft_of_each(loss: LossFunction, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Return the soft loss of each image [B] to one teacher [B, C], or its mean over separate ones [B, K, C]."""
    if teacher.ndim == 2:
        return per_image(loss, mean_of_heads(student), teacher, labels)
    heads = student.unbind(1) if student.ndim == 3 else [student] * teacher.shape[1]
    return torch.stack([per_image(loss, q, p, labels) for q, p in zip(heads, teacher.unbind(1), strict=True)]).mean(0)


def checked_weights(weights: Tensor, images: ImageSet) -> Tensor:
    """Return the weights as float32. Raises ValueError unless each image has one, finite and not negative."""
    if weights.shape != images.labels.shape or not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError(f"{len(images)} images need as many weights, finite and none negative")
    return weights.float()
