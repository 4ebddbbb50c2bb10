"""Objective: the loss of a batch, put together in one place for every trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.data.augmentation import View, soft_targets
from knowledge_transfer.learning.data.domains import Parts
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.losses.by_domain import domain_loss, smoothed_cross_entropy, soft_loss_to
from knowledge_transfer.learning.losses.soft_loss import LossFunction, per_image
from knowledge_transfer.learning.models.network import mean_of_heads


@dataclass(frozen=True)
class DistillationObjective:
    """What a teacher adds to the loss.

    `teacher_logits` float [images, views, classes], of separate teachers [images, views, members, classes]. `soft_loss`
    enters with the weight `alpha`, the domain loss of a mix with the weight `gamma`. `view_seed` is the seed of the
    views that the teacher labelled.
    """

    teacher_logits: Tensor
    soft_loss: LossFunction
    alpha: float
    view_seed: int
    gamma: float = 0.0


class Objective:
    """alpha * soft loss + (1 - alpha) * cross-entropy + gamma * domain loss, each image with its weight.

    Without `distillation` it is the cross-entropy alone. `image_weights` float [N] multiply each image's loss (none:
    all alike); a mean of 1 keeps the scale. Raises ValueError for weights that do not fit the images.
    """

    def __init__(
        self,
        images: ImageSet,
        label_smoothing: float,
        device: torch.device,
        distillation: DistillationObjective | None = None,
        image_weights: Tensor | None = None,
    ) -> None:
        self.labels, self.classes = images.labels.to(device), len(images.class_names)
        self.label_smoothing, self.distillation = label_smoothing, distillation
        self.teacher_logits = None if distillation is None else distillation.teacher_logits.to(device)
        self.gamma = 0.0 if distillation is None or len(images.blocks) == 1 else distillation.gamma
        self.image_weights = None if image_weights is None else _checked(image_weights, images).to(device)

    def targets(self, view: View, indices: Tensor) -> Tensor:
        """Return the labels of a view of the images at `indices` [B] as distributions [B, C], mixed like the images."""
        return soft_targets(self.labels, view, indices, self.classes)

    def loss(self, logits: Tensor, targets: Tensor, indices: Tensor, view: int, parts: Parts) -> Tensor:
        """Return the mean loss of a batch, a scalar.

        `logits` [B, C], or [B, heads, C]; `targets` [B, C]; `indices` int64 [B] and the number of the view choose the
        soft labels; `parts` say which images and classes belong to each domain. Raises ValueError for image weights
        with a loss that compares the images of a batch.
        """
        fused = mean_of_heads(logits)
        if self.image_weights is not None:
            hard = F.cross_entropy(fused, targets, label_smoothing=self.label_smoothing, reduction="none")
            return (self.image_weights[indices] * self._combined(hard, per_image, fused, targets, indices, view)).mean()
        hard = smoothed_cross_entropy(fused, targets, self.label_smoothing, parts)
        loss = self._combined(hard, partial(soft_loss_to, parts=parts), logits, targets, indices, view)
        return loss + self.gamma * domain_loss(fused, parts) if self.gamma else loss

    def losses_of_networks(self, logits: Tensor, targets: Tensor, indices: Tensor, view: int) -> Tensor:
        """Return the mean loss of each network's own batch [M], of logits and targets [M, B, C], indices [M, B]."""
        hard = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(0, 1), label_smoothing=self.label_smoothing, reduction="none"
        )
        return self._combined(hard.view(indices.shape).mean(1), _per_network, logits, targets, indices, view)

    def _combined(
        self,
        hard: Tensor,
        soft: Callable[[LossFunction, Tensor, Tensor, Tensor], Tensor],
        logits: Tensor,
        targets: Tensor,
        indices: Tensor,
        view: int,
    ) -> Tensor:
        """Return `hard` and the soft loss, which `soft` takes in the same shape, weighted by alpha."""
        if self.distillation is None or self.teacher_logits is None:
            return hard
        teacher = self.teacher_logits[indices, view]
        value = soft(self.distillation.soft_loss, logits, teacher, targets.argmax(-1))
        return combine(value, hard, self.distillation.alpha)


def combine(soft: Tensor, hard: Tensor, alpha: float) -> Tensor:
    """Return alpha * soft + (1 - alpha) * hard; alpha 1 and 0 return the one term itself."""
    # Zero times NaN or infinity is NaN: a term of no weight must not be multiplied in.
    if alpha == 1:
        return soft
    return hard if alpha == 0 else alpha * soft + (1 - alpha) * hard


def _per_network(loss: LossFunction, logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    each: Tensor = torch.vmap(loss)(logits, teacher_logits, labels)
    return each


def _checked(weights: Tensor, images: ImageSet) -> Tensor:
    if len(images.blocks) > 1:
        raise ValueError("images of a mix of domains cannot be weighted one by one")
    if weights.shape != images.labels.shape or not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError(f"{len(images)} images need as many weights, finite and none negative")
    return weights.float()
