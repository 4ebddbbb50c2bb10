"""Mixes: image sets of several domains, of any size and colour, joined over the union of their classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.config import did_you_mean
from knowledge_transfer.learning.data.domains import ALL, blocks_of, union_names
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import stratified_indices

Shares = Literal["proportional", "equal"] | dict[str, int]


def mix(domains: Mapping[str, ImageSet]) -> ImageSet:
    """Return the images of all domains, one domain after the other, each domain's classes a block of the union.

    Every image gets the largest size that occurs and, where any is coloured, three channels. A single domain called
    `all` is returned as it is. Raises ValueError when there is none, or one of a single class.
    """
    if not domains:
        raise ValueError("a mix needs at least one domain")
    if list(domains) == [ALL]:
        return domains[ALL]
    if single := [domain for domain, images in domains.items() if len(images.class_names) < 2]:
        raise ValueError(f"domain '{single[0]}' has a single class: a student has nothing to distinguish")
    sets = list(domains.values())
    size = max(max(images.images.shape[2:]) for images in sets)
    channels = max(images.images.shape[1] for images in sets)
    blocks = blocks_of({domain: images.class_names for domain, images in domains.items()})
    return ImageSet(
        torch.cat([_coloured(resized(images.images, size), channels) for images in sets]),
        torch.cat([images.labels + block.start for images, block in zip(sets, blocks, strict=True)]),
        union_names(blocks),
        _groups(sets),
        blocks,
    )


def resized(images: Tensor, size: int) -> Tensor:
    """Return uint8 [N, C, H, W] scaled to squares of `size` pixels, bilinear and free of aliases."""
    if images.shape[2:] == (size, size):
        return images
    # In chunks: a float copy of 60,000 images of 32 pixels is a quarter of a gigabyte for each channel.
    chunks = [
        F.interpolate(chunk.float(), size=(size, size), mode="bilinear", antialias=True).round().to(torch.uint8)
        for chunk in images.split(4096)
    ]
    return torch.cat(chunks)


def _coloured(images: Tensor, channels: int) -> Tensor:
    if images.shape[1] not in (1, channels):
        raise ValueError(f"images of {images.shape[1]} and of {channels} channels cannot be mixed")
    return images.expand(-1, channels, -1, -1)


def thin(images: ImageSet, counts: Mapping[str, int], *, seed: int) -> ImageSet:
    """Return `counts` images of each domain, every class in proportion and present; all images of other domains.

    They are drawn by `seed` and keep their order. Raises ValueError for a domain that is not in the mix.
    """
    known = [block.domain for block in images.blocks]
    if unknown := [domain for domain in counts if domain not in known]:
        raise ValueError(f"no domain '{unknown[0]}' in the mix{did_you_mean(unknown[0], known)}")
    kept = torch.zeros(len(images), dtype=torch.bool)
    for block in images.blocks:
        rows = images.rows_of(block.domain)
        limit = counts.get(block.domain, len(rows))
        kept[rows[stratified_indices(images.labels[rows], limit, seed=seed)]] = True
    return images if kept.all() else images.subset(kept)


def shared(images: ImageSet, shares: Shares, *, seed: int) -> ImageSet:
    """Return the mix with all images (`proportional`), the number of the smallest domain (`equal`), or these numbers.

    Raises ValueError, naming the domain, for more images than it has, or fewer than its classes.
    """
    if shares == "proportional":
        return images
    present = counts_of(images)
    smallest = min(present, key=lambda domain: present[domain])
    wanted = dict.fromkeys(present, present[smallest]) if shares == "equal" else shares
    why = f" (equal: as many as of '{smallest}')" if shares == "equal" else ""
    for block in images.blocks:
        count, classes = wanted.get(block.domain), len(block.class_names)
        if count is not None and not classes <= count <= present[block.domain]:
            raise ValueError(
                f"the mix is to hold {count} images of '{block.domain}'{why}, there are {present[block.domain]} of "
                f"{classes} classes in this set: take no more, and at least one of each class"
            )
    return thin(images, wanted, seed=seed)


def counts_of(images: ImageSet) -> dict[str, int]:
    """Return the number of images of each domain."""
    counts = torch.bincount(images.domains, minlength=len(images.blocks)).tolist()
    return {block.domain: count for block, count in zip(images.blocks, counts, strict=True)}


def _groups(sets: list[ImageSet]) -> Tensor | None:
    """Return groups that no two domains have in common; an image without a group becomes one."""
    if all(images.groups is None for images in sets):
        return None
    groups, first = [], 0
    for images in sets:
        own = torch.arange(len(images)) if images.groups is None else images.groups.unique(return_inverse=True)[1]
        groups.append(own + first)
        first += len(images)
    return torch.cat(groups)
