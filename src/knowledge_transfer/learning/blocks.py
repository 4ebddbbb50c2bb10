"""Blocks: a union of label spaces cut into domains, and the losses that know which block an image belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

ALL = "all"  # the domain of images that are no mix, and of a model that answers for every class

# For each domain: which images of the batch are its, and which classes.
Parts = Sequence[tuple[Tensor | slice, slice]]


@dataclass(frozen=True)
class Block:
    """The slice of the label space that belongs to `domain`; `class_names` are the domain's own."""

    domain: str
    start: int
    class_names: tuple[str, ...]

    @property
    def stop(self) -> int:
        """The first class behind the block."""
        return self.start + len(self.class_names)

    @property
    def classes(self) -> slice:
        """The block's classes, to index the last dimension of logits."""
        return slice(self.start, self.stop)


def blocks_of(label_spaces: Mapping[str, tuple[str, ...]]) -> tuple[Block, ...]:
    """Return the blocks of the domains, each behind the one before, from the class names of each domain."""
    blocks: list[Block] = []
    for domain, class_names in label_spaces.items():
        blocks.append(Block(domain, blocks[-1].stop if blocks else 0, class_names))
    return tuple(blocks)


def union_names(blocks: Sequence[Block]) -> tuple[str, ...]:
    """Return the class names of the union: `domain/name`, for two domains may use one name; bare in a single block."""
    if len(blocks) == 1:
        return blocks[0].class_names
    return tuple(f"{block.domain}/{name}" for block in blocks for name in block.class_names)


def domains_of(labels: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Return int64 [N], for each label (int64 [N], of the union) the position of its block."""
    return torch.bucketize(labels, torch.tensor([block.stop for block in blocks], device=labels.device), right=True)


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


def within_block(logits: Tensor, domains: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Return `logits` [N, C] with minus infinity outside each image's block: what is said once the domain is known.

    `domains` int64 [N] are positions in `blocks`.
    """
    known = torch.full_like(logits, -torch.inf)
    for position, block in enumerate(blocks):
        rows = domains == position
        known[rows, block.classes] = logits[rows, block.classes]
    return known


def parts_of(domains: Tensor, blocks: Sequence[Block], device: torch.device) -> Parts:
    """Return the parts of a batch from its images' `domains`, int64 [B] on the CPU, with rows on `device`."""
    if len(blocks) == 1:
        return [(slice(None), blocks[0].classes)]
    # Found on the CPU, where the domains are known beforehand: asking the device would wait for it in every step.
    return [
        ((domains == position).nonzero().flatten().to(device, non_blocking=True), block.classes)
        for position, block in enumerate(blocks)
    ]
