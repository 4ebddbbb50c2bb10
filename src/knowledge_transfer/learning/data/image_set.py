"""ImageSet: images with their labels, class names and domains."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from knowledge_transfer.learning.data.domains import ALL, Block, domains_of, union_names


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels.

    `images` uint8 [N, C, H, W]; `labels` int64 [N], indices into `class_names`, or -1 - i for an image of block i whose
    label is withheld; `groups` int64 [N] or none: splits
    never separate images of one group. `blocks` divide the classes among the domains of a mix (none given: one block,
    `all`). Raises ValueError when these do not fit together.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    groups: Tensor | None = None
    blocks: tuple[Block, ...] = ()

    def __post_init__(self) -> None:
        if not {block.domain for block in self.blocks} - {ALL}:
            object.__setattr__(self, "blocks", (Block(ALL, 0, self.class_names),))
        if union_names(self.blocks) != self.class_names:
            domains = [block.domain for block in self.blocks]
            raise ValueError(f"blocks {domains} do not hold the classes {self.class_names}")
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 [N, C, H, W], got {self.images.dtype} {list(self.images.shape)}")
        for name, values in (("labels", self.labels), ("groups", self.groups)):
            if values is not None and values.shape != (len(self.images),):
                raise ValueError(f"{len(self.images)} images but {name} of shape {list(values.shape)}")
        outside = self.labels[(self.labels < -len(self.blocks)) | (self.labels >= len(self.class_names))]
        if len(outside):
            raise ValueError(f"label {int(outside.max())} is outside the {len(self.class_names)} classes")

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def sha256(self) -> str:
        """Hex digest of pixels, labels and class names, in order."""
        digest = hashlib.sha256(repr((tuple(self.images.shape), self.class_names)).encode())
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def domain(self) -> str:
        """The domain of every image; `all` for a mix."""
        return self.blocks[0].domain if len(self.blocks) == 1 else ALL

    @cached_property
    def domains(self) -> Tensor:
        """int64 [N], the position in `blocks` of each image's domain."""
        return torch.where(self.is_labelled, domains_of(self.labels, self.blocks), -1 - self.labels)

    @property
    def is_labelled(self) -> Tensor:
        """Which images have their label, bool [N]."""
        return self.labels >= 0

    def without_labels(self) -> ImageSet:
        """Return the images with their domains, every label withheld."""
        return replace(self, labels=-1 - self.domains)

    def block(self, domain: str) -> Block:
        """Return the block of `domain`. Raises ValueError when there is none, naming those there are."""
        for block in self.blocks:
            if block.domain == domain:
                return block
        raise ValueError(f"no domain '{domain}' among {', '.join(block.domain for block in self.blocks)}")

    def of(self, domain: str) -> ImageSet:
        """Return the images of one domain, with its own class names and labels from 0 on; for `all` every image."""
        if domain == ALL:
            return self
        block = self.block(domain)
        if len(self.blocks) == 1:
            return self
        own = self.subset(self.rows_of(domain))
        alone = replace(block, start=0)
        labels = torch.where(own.is_labelled, own.labels - block.start, -1)
        return replace(own, labels=labels, class_names=block.class_names, blocks=(alone,))

    def rows_of(self, domain: str) -> Tensor:
        """Return int64 [n], the indices of the images of `domain`. Raises ValueError when there is no such domain."""
        return (self.domains == self.blocks.index(self.block(domain))).nonzero().flatten()

    def subset(self, indices: Tensor) -> ImageSet:
        """Return the images at `indices`: int64 [n], in that order, or bool [N]. Raises IndexError for others."""
        groups = None if self.groups is None else self.groups[indices]
        return replace(self, images=self.images[indices], labels=self.labels[indices], groups=groups)

    def join(self, other: ImageSet) -> ImageSet:
        """Return both sets, this one first; groups are dropped. Raises ValueError when class names or sizes differ."""
        if self.class_names != other.class_names:
            raise ValueError(f"class names differ: {self.class_names} and {other.class_names}")
        if self.images.shape[1:] != other.images.shape[1:]:
            raise ValueError(f"image sizes differ: {self.images.shape[1:]} and {other.images.shape[1:]}")
        images, labels = torch.cat([self.images, other.images]), torch.cat([self.labels, other.labels])
        return ImageSet(images, labels, self.class_names, blocks=self.blocks)

    def content_hashes(self) -> list[bytes]:
        """Return one digest of 16 bytes per image, of its pixels alone."""
        flat = self.images.contiguous().flatten(1).numpy()
        return [hashlib.blake2b(image.data, digest_size=16).digest() for image in flat]

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of each channel, pixels scaled to [0, 1]; a flat channel deviates by 1."""
        # Counting the 256 grey levels is exact and never makes a float copy of the set.
        levels = torch.arange(256, dtype=torch.float64) / 255
        means, deviations = [], []
        for channel in self.images.unbind(1):
            counts = torch.bincount(channel.flatten().int(), minlength=256).double()
            mean = (counts * levels).sum() / counts.sum()
            variance = (counts * (levels - mean) ** 2).sum() / counts.sum()
            means.append(float(mean))
            deviations.append(float(variance.sqrt()) or 1.0)
        return tuple(means), tuple(deviations)


class ImageFiles(Protocol):
    """Files of a user that may be images, by name."""

    names: list[str]

    def read(self, names: Sequence[str], *, grey: bool, size: int) -> tuple[list[str], Tensor, dict[str, str]]:
        """Return which are images, their pixels uint8 [n, 1 (grey) or 3, size, size], and why the others are not."""
        ...
