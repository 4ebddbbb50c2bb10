"""Objective: the loss of a batch, built in one module for every trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.data.augmentation import View, soft_targets
from knowledge_transfer.learning.data.domains import DomainSlices
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.losses.image_weights import alpha_of_each, checked_weights, soft_of_each
from knowledge_transfer.learning.losses.soft_loss import LossFunction, SoftLoss
from knowledge_transfer.learning.models.network import mean_of_heads


@dataclass(frozen=True)
class DistillationObjective:
    """What a teacher adds to the loss.

    `teacher_logits` float [images, views, classes], of separate teachers [images, views, members, classes]; a single
    view holds for all that the learner sees. `alpha` weights the soft loss, `gamma` the domain loss of a mix.
    `view_seed` is the seed of the labelled views. With `by_confidence` each image has an alpha of its own, by
    `alpha_of_each`.
    """

    teacher_logits: Tensor
    soft_loss: LossFunction
    alpha: float
    view_seed: int
    gamma: float = 0.0
    by_confidence: bool = False


class Objective:
    """alpha * soft loss + (1 - alpha) * cross-entropy + gamma * domain loss, each image with its weight.

    Without `distillation` it is the cross-entropy alone. An image whose label is withheld has no cross-entropy.
    `image_weights` float [N] multiply each image's loss (none: all alike); a mean of 1 keeps the scale. Raises
    ValueError for weights that do not fit the images, and for withheld labels that a loss needs.
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
        self.are_all_labelled = bool(images.is_labelled.all())
        if not self.are_all_labelled and (distillation is None or _reads_labels(distillation.soft_loss)):
            raise ValueError("labels of these images are withheld, and this loss reads them")
        self.image_weights = None if image_weights is None else checked_weights(image_weights, images).to(device)

    def targets(self, view: View, indices: Tensor) -> Tensor:
        """Return the labels of a view of the images at `indices` [B] as distributions [B, C], mixed like the images."""
        return soft_targets(self.labels, view, indices, self.classes)

    def loss(self, logits: Tensor, targets: Tensor, indices: Tensor, view: int, slices: DomainSlices) -> Tensor:
        """Return the mean loss of a batch, a scalar.

        `logits` [B, C], or [B, heads, C]; `targets` [B, C]; `indices` int64 [B] and the number of the view choose the
        soft labels. Raises ValueError for image weights with a loss that compares the images of a batch.
        """
        fused = mean_of_heads(logits)
        reduction: Literal["mean", "none"] = "none" if self._weighs_each else "mean"
        hard = smoothed_cross_entropy(fused, targets, self.label_smoothing, slices, self.are_all_labelled, reduction)
        if reduction == "mean":
            loss = self._combined(hard, partial(soft_loss_to, slices=slices), logits, targets, indices, view)
        else:
            loss = self._of_each(hard, logits, targets, indices, view, slices).mean()
        return loss + self.gamma * domain_loss(fused, slices) if self.gamma else loss

    @property
    def _weighs_each(self) -> bool:
        by_confidence = self.distillation is not None and self.distillation.by_confidence
        return by_confidence or self.image_weights is not None

    def losses_of_networks(self, logits: Tensor, targets: Tensor, indices: Tensor, view: int) -> Tensor:
        """Return the mean loss of each network's own batch [M], of logits and targets [M, B, C], indices [M, B]."""
        hard = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(0, 1), label_smoothing=self.label_smoothing, reduction="none"
        )
        hard = self._of_known(hard.view(indices.shape), targets)
        if self._weighs_each:
            whole = [(slice(None), slice(0, self.classes))]
            batches = zip(hard, logits, targets, indices, strict=True)
            return torch.stack([self._of_each(*batch, view, whole).mean() for batch in batches])
        return self._combined(hard.mean(1), _per_network, logits, targets, indices, view)

    def answers(self, targets: Tensor, indices: Tensor, view: int) -> Tensor:
        """Return the right class of each image, int64 [B]: by its label or, where that is withheld, by its teacher."""
        named = targets.argmax(-1)
        if self.are_all_labelled or self.teacher_logits is None:
            return named
        teacher = self._taught(self.teacher_logits, indices, view)
        taught = (teacher.mean(1) if teacher.ndim == 3 else teacher).argmax(-1)
        return torch.where(targets.sum(-1) > 0, named, taught)

    @staticmethod
    def _taught(teacher_logits: Tensor, indices: Tensor, view: int) -> Tensor:
        # Where the teacher labelled the plain image alone, it holds for every view.
        return teacher_logits[indices, view if teacher_logits.shape[1] > 1 else 0]

    def _of_known(self, losses: Tensor, targets: Tensor) -> Tensor:
        """Return the losses [...], 0 where the label is withheld, of targets [..., C]."""
        return losses if self.are_all_labelled else losses * (targets.sum(-1) > 0)

    def _of_each(
        self, hard: Tensor, logits: Tensor, targets: Tensor, indices: Tensor, view: int, slices: DomainSlices
    ) -> Tensor:
        """Return the weighted loss of each image [B], of a mix domain by domain, from its cross-entropy `hard` [B]."""
        weighted = torch.ones_like(hard) if self.image_weights is None else self.image_weights[indices]
        if self.distillation is None or self.teacher_logits is None:
            return weighted * hard
        loss, alpha = self.distillation.soft_loss, self.distillation.alpha
        teacher, labels, parts = self._taught(self.teacher_logits, indices, view), targets.argmax(-1), []
        for rows, classes in slices:
            if not len(hard[rows]):  # a batch may lack a domain
                continue
            student, own = logits[rows][..., classes], teacher[rows][..., classes]
            soft = soft_of_each(loss, student, own, labels[rows] - classes.start)
            share = alpha_of_each(alpha, student, own) if self.distillation.by_confidence else alpha
            parts.append(weighted[rows] * combine(soft, hard[rows], share))
        return torch.cat(parts)

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
        teacher = self._taught(self.teacher_logits, indices, view)
        value = soft(self.distillation.soft_loss, logits, teacher, targets.argmax(-1))
        return combine(value, hard, self.distillation.alpha)


def combine(soft: Tensor, hard: Tensor, alpha: float | Tensor) -> Tensor:
    """Return alpha * soft + (1 - alpha) * hard; alpha 1 and 0 return the one term itself."""
    if isinstance(alpha, Tensor):
        return alpha * soft + (1 - alpha) * hard
    # Zero times NaN or infinity is NaN: a term of no weight must not be multiplied in.
    if alpha == 1:
        return soft
    return hard if alpha == 0 else alpha * soft + (1 - alpha) * hard


def _reads_labels(loss: LossFunction) -> bool:
    return isinstance(loss, SoftLoss) and loss.reads_labels


def _per_network(loss: LossFunction, logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    each: Tensor = torch.vmap(loss)(logits, teacher_logits, labels)
    return each


def soft_loss_to(
    loss: LossFunction, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, slices: DomainSlices
) -> Tensor:
    """Return the loss to one teacher [B, C], or its mean over separate teachers [B, K, C], a scalar.

    Each separate teacher has its own head in `student_logits` [B, K, C], or all of them teach the one head [B, C]
    (Zuchniak 2023, 2302.07215: mimic_all and loss_avg). Raises ValueError where heads and teachers differ in number.
    """
    if teacher_logits.ndim == 2:
        return soft_loss_by_block(loss, mean_of_heads(student_logits), teacher_logits, labels, slices)
    teachers = teacher_logits.unbind(1)
    heads = student_logits.unbind(1) if student_logits.ndim == 3 else [student_logits] * len(teachers)
    each = [soft_loss_by_block(loss, q, p, labels, slices) for q, p in zip(heads, teachers, strict=True)]
    return torch.stack(each).mean()


def soft_loss_by_block(
    loss: LossFunction, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, slices: DomainSlices
) -> Tensor:
    """Return the mean over the batch of `loss`, computed for each image within the classes of its own domain.

    Logits [B, C] and labels int64 [B] are of the union of classes. Logits outside the image's block are not read, so
    the gradient there is exactly zero. A domain weighs as many images as the batch has.
    """
    terms = []
    for rows, classes in slices:
        own = labels[rows]
        if len(own):
            within = loss(student_logits[rows][:, classes], teacher_logits[rows][:, classes], own - classes.start)
            terms.append(within * (len(own) / len(labels)))
    return torch.stack(terms).sum()


def smoothed_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    smoothing: float,
    slices: DomainSlices,
    are_all_labelled: bool = True,
    reduction: Literal["mean", "none"] = "mean",
) -> Tensor:
    """Return the cross-entropy in nats of `logits` [B, C] with smoothed `targets` [B, C]: its mean, or each [B].

    `smoothing` in [0, 1) is spread evenly over the classes of the image's own domain (Szegedy 2016, in one domain):
    which domain an image belongs to is not in doubt. A row of zeros, of an image without a label, counts as 0.
    """
    if not smoothing or (len(slices) == 1 and are_all_labelled):
        return F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction=reduction)
    uniform = torch.zeros_like(targets)
    for rows, classes in slices:
        own = torch.zeros(targets.shape[1], device=targets.device)
        own[classes] = 1 / (classes.stop - classes.start)
        uniform[rows] = own
    known = targets.sum(1, keepdim=True)
    return F.cross_entropy(logits, (1 - smoothing) * targets + smoothing * uniform * known, reduction=reduction)


def domain_loss(logits: Tensor, slices: DomainSlices) -> Tensor:
    """Return the mean over the batch of -log of the probability of the image's whole block, in nats.

    `logits` [B, C]. Where the label is withheld, a student learns from it which domain an image belongs to:
    cross-entropy is this plus the cross-entropy within the block.
    """
    terms = []
    for rows, classes in slices:
        own = logits[rows]
        terms.append((own.logsumexp(1) - own[:, classes].logsumexp(1)).sum())
    return torch.stack(terms).sum() / len(logits)
