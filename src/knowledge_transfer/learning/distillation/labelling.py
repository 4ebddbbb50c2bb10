"""Labelling: a teacher answers every view of every image once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.augmentation import Augmentation, Places, render
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.streaming import Window
from knowledge_transfer.learning.distillation.soft_labels import _LIMIT, LabellingFacts, SoftLabels, _rows
from knowledge_transfer.learning.hardware import autocast, prediction_batch_size
from knowledge_transfer.learning.models.network import folded


@torch.inference_mode()
def label(
    teachers: list[Checkpoint],
    images: ImageSet,
    *,
    views: int,
    view_seed: int,
    augmentation: Augmentation,
    device: torch.device,
    every_domain: bool = False,
    window: int | None = None,
) -> SoftLabels:
    """Return what each teacher says about `views` views of its domain's images; with `every_domain`, of all images.

    A `window` of so many images at once is on the device (none: all); no augmentation may mix images then. Raises
    ValueError when a teacher's classes are not those of its block of the images', or when its answers are no finite
    numbers.
    """
    logits = torch.full((len(teachers), len(images), views, len(images.class_names)), -torch.inf, dtype=torch.float16)
    pixels = images.images.to(device) if window is None else Window(images.images, device, window)
    places = None if len(images.blocks) == 1 else Places.of(images.domains.to(device))
    for position, teacher in enumerate(teachers):
        block = teacher.block_in(images)
        knows_all = every_domain or block not in images.blocks
        asked = torch.arange(len(images)) if knows_all else _rows(images, images.blocks.index(block))
        network = folded(teacher.build()).to(device).to(memory_format=torch.channels_last)
        for view in range(views):
            for rows in _batches(pixels, asked, prediction_batch_size(device)):
                seen = render(
                    pixels, rows.to(device), view=view, seed=view_seed, augmentation=augmentation, places=places
                ).pixels
                with autocast(device, "auto"):
                    answer = network(seen.to(memory_format=torch.channels_last)).float()
                if not answer.isfinite().all():
                    raise ValueError(f"{teacher.facts.key} gives answers that are no finite numbers: train it again")
                # Beyond float16's range nothing changes but the last digit of a probability of one.
                logits[position, rows, view, block.classes] = answer.clamp(-_LIMIT, _LIMIT).to("cpu", torch.float16)
    facts = LabellingFacts(
        teachers={teacher.facts.key: teacher.sha256 for teacher in teachers},
        domains={teacher.facts.key: teacher.facts.domain for teacher in teachers},
        images_sha256=images.sha256,
        class_names=images.class_names,
        views=views,
        view_seed=view_seed,
        augmentation=augmentation,
    )
    return SoftLabels(logits, facts)


def _batches(pixels: Tensor | Window, asked: Tensor, size: int) -> Iterator[Tensor]:
    """Yield the images of each batch, while they are on the device."""
    for part in pixels.over(asked) if isinstance(pixels, Window) else (asked,):
        yield from part.split(size)
