"""Domains: each owns one block of consecutive classes in the union of all label spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ALL = "all"  # the domain of images that are no mix, and of a model that predicts every class

# For each domain, its rows in a batch and its classes.
DomainSlices = Sequence[tuple[Tensor | slice, slice]]


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
    """Return int64 [N], the position of the block of each label; `labels` int64 [N] are of the union."""
    return torch.bucketize(labels, torch.tensor([block.stop for block in blocks], device=labels.device), right=True)


def within_block(logits: Tensor, domains: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Return `logits` [N, C] with minus infinity outside the block of each image, `domains` int64 [N] its position."""
    known = torch.full_like(logits, -torch.inf)
    for position, block in enumerate(blocks):
        rows = domains == position
        known[rows, block.classes] = logits[rows, block.classes]
    return known


def domain_slices(domains: Tensor, blocks: Sequence[Block], device: torch.device) -> DomainSlices:
    """Return the slices of a batch from its images' `domains`, int64 [B] on the CPU, with rows on `device`."""
    if len(blocks) == 1:
        return [(slice(None), blocks[0].classes)]
    # On the CPU, where the domains are known: `nonzero` on the device would wait for it in every step.
    return [
        ((domains == position).nonzero().flatten().to(device, non_blocking=True), block.classes)
        for position, block in enumerate(blocks)
    ]


@dataclass(frozen=True)
class DomainIndex:
    """The images of a mix, counted by domain; every field is int64 [N].

    `number` is the image's position among the images of its domain, `count` their number. `order` lists the images by
    domain; those of the image's domain begin at `first`.
    """

    number: Tensor
    count: Tensor
    first: Tensor
    order: Tensor

    @staticmethod
    def of(domains: Tensor) -> DomainIndex:
        """Return the index of images whose domains are `domains`, int64 [N], on the same device."""
        order = domains.argsort(stable=True)
        counts = torch.bincount(domains)
        first = (counts.cumsum(0) - counts)[domains]
        number = torch.empty_like(order)
        number[order] = torch.arange(len(order), device=order.device) - first[order]
        return DomainIndex(number, counts[domains], first, order)
