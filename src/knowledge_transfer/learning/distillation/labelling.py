"""Labelling: each teacher predicts every view of every image once."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.augmentation import Augmentation, render
from knowledge_transfer.learning.data.domains import DomainIndex
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.streaming import Window
from knowledge_transfer.learning.distillation.soft_labels import LARGEST_LOGIT, LabellingFacts, SoftLabels
from knowledge_transfer.learning.hardware import autocast, prediction_batch_size
from knowledge_transfer.learning.models.network import Network, folded


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
    """Return each teacher's logits on `views` views of its domain's images; with `every_domain`, of all images.

    At most `window` images are on the device at once (none: all); then no augmentation may mix images. Raises
    ValueError when a teacher's classes are not those of the images, or when its logits are not finite.
    """
    logits = torch.full((len(teachers), len(images), views, len(images.class_names)), -torch.inf, dtype=torch.float16)
    pixels = images.images.to(device) if window is None else Window(images.images, device, window)
    index = None if len(images.blocks) == 1 else DomainIndex.of(images.domains.to(device))
    for position, teacher in enumerate(teachers):
        block = teacher.block_in(images)
        predicts_all = every_domain or block not in images.blocks
        rows = torch.arange(len(images)) if predicts_all else images.rows_of(block.domain)
        network = folded(teacher.build(), images.images[:2]).to(device).to(memory_format=torch.channels_last)
        for view in range(views):
            for batch in _batches(pixels, rows, prediction_batch_size(device)):
                rendered = render(
                    pixels, batch.to(device), view=view, seed=view_seed, augmentation=augmentation, domain_index=index
                )
                logits[position, batch, view, block.classes] = _logits(network, rendered.pixels, teacher.facts.key)
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


def _logits(network: Network, pixels: Tensor, key: str) -> Tensor:
    """Return float16 logits on the CPU. Raises ValueError, naming `key`, where they are not finite."""
    with autocast(pixels.device, "auto"):
        logits: Tensor = network(pixels.to(memory_format=torch.channels_last)).float()
    if not logits.isfinite().all():
        raise ValueError(f"{key} predicts logits that are not finite: train it again")
    # Beyond float16's range nothing changes but the last digit of a probability of one.
    return logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT).to("cpu", torch.float16)


def _batches(pixels: Tensor | Window, rows: Tensor, size: int) -> Iterator[Tensor]:
    """Yield the images of each batch, while they are on the device."""
    for window in pixels.over(rows) if isinstance(pixels, Window) else (rows,):
        yield from window.split(size)
