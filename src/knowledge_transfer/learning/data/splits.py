"""Splits of an image set in two, and subsets that keep the proportions of its classes."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

import torch
from torch import Tensor

from knowledge_transfer.learning.data.image_set import ImageSet


def split(images: ImageSet, fraction: float, *, seed: int) -> tuple[ImageSet, ImageSet]:
    """Return (rest, part): `part` holds `fraction` of every class's groups, drawn by `seed`, `rest` the others.

    Each side has at least one group of every class. Images of equal content count as one group. Both sides keep the
    original order. Raises ValueError when a class cannot be on both sides: it has a single group, or its pictures are
    also those of other classes.
    """
    by_class: dict[int, list[list[int]]] = defaultdict(list)
    for indices in _group_members(images):
        by_class[int(images.labels[indices[0]])].append(indices)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(len(images), dtype=torch.bool)
    for label in sorted(by_class):
        groups = by_class[label]
        if len(groups) < 2:
            name = images.class_names[label]
            raise ValueError(
                f"class '{name}' has {len(groups)} separable images: too few to be on both sides; give it more images"
            )
        # A tenth of seven groups rounds to one.
        take = min(max(round(fraction * len(groups)), 1), len(groups) - 1)
        for position in torch.randperm(len(groups), generator=generator)[:take].tolist():
            chosen[groups[position]] = True
    rest, part = images.subset(~chosen), images.subset(chosen)
    # A class whose every picture is also of another class may end on one side.
    if torn := set(images.labels.tolist()) - (set(rest.labels.tolist()) & set(part.labels.tolist())):
        names = ", ".join(images.class_names[label] for label in sorted(torn))
        raise ValueError(f"class {names} cannot be on both sides: its pictures are also those of other classes")
    return rest, part


def fixed_part(images: ImageSet, part: Literal["train", "test"]) -> ImageSet:
    """Return a part of images without a published test set: a fifth of each class is `test`, always the same."""
    # By a seed of its own: the test set must not change with the experiment's.
    training, test = split(images, 0.2, seed=0)
    return training if part == "train" else test


def stratified_indices(labels: Tensor, limit: int, *, seed: int) -> Tensor:
    """Return the indices, int64, of `limit` of the labels (int64 [N]), every class in proportion and present.

    A limit below the number of classes counts as that number. Groups are ignored: most keep some of their images.
    """
    if limit >= len(labels):
        return torch.arange(len(labels))
    generator = torch.Generator().manual_seed(seed)
    classes, counts = labels.unique(return_counts=True)
    kept = []
    for label, quota in zip(classes.tolist(), _apportioned(counts.tolist(), limit), strict=True):
        indices = (labels == label).nonzero().flatten()
        kept.append(indices[torch.randperm(len(indices), generator=generator)[:quota]])
    return torch.cat(kept)


def _apportioned(counts: list[int], total: int) -> list[int]:
    """Return quotas of `total` in proportion to `counts`, at least 1 each, by largest remainders (first of equals)."""
    exact = [count * total / sum(counts) for count in counts]
    quotas = [max(1, int(quota)) for quota in exact]
    while sum(quotas) != max(total, len(counts)):
        change = 1 if sum(quotas) < total else -1
        open_ = [position for position, quota in enumerate(quotas) if quota + change > 0]
        quotas[max(open_, key=lambda each: (exact[each] - quotas[each]) * change)] += change
    return quotas


def without(images: ImageSet, others: ImageSet) -> ImageSet:
    """Return `images` without those whose pixels also occur in `others`."""
    known = set(others.content_hashes())
    kept = torch.tensor([digest not in known for digest in images.content_hashes()], dtype=torch.bool)
    return images if kept.all() else images.subset(kept)


def _group_members(images: ImageSet) -> list[list[int]]:
    """Return the indices of each inseparable group, in order of first appearance."""
    parent: dict[object, int] = {}
    members: list[list[int]] = []
    groups = images.groups.tolist() if images.groups is not None else [None] * len(images)
    for index, (digest, group) in enumerate(zip(images.content_hashes(), groups, strict=True)):
        keys = [digest] if group is None else [digest, group]
        homes = sorted({parent[key] for key in keys if key in parent})
        home = homes[0] if homes else len(members)
        if not homes:
            members.append([])
        for other in homes[1:]:
            members[home] += members[other]
            members[other] = []
            parent.update({key: home for key, value in parent.items() if value == other})
        members[home].append(index)
        parent.update(dict.fromkeys(keys, home))
    return [group for group in members if group]
