"""Images and teachers in a folder: made once, in files that need torch alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.common import ours

# The margin is wider than the shift: whether black or mirrored pixels move in from outside is then the same.
_SIDE, _MARGIN = 22, 5


def prepare(
    folder: Path, kinds: Iterable[str], *, images: int, width: float, epochs: int, device: torch.device
) -> None:
    """Write digits, and those teachers that `folder` does not have yet.

    Teachers learn from the whole training part for `epochs`, students from `images` of it; validation is the test part.
    """
    from knowledge_transfer.datasets.sources import digits

    training, validation = (_coloured(digits.read(part, _SIDE)) for part in ("train", "test"))
    few = training.subset(ours.stratified_indices(training.labels, images, seed=0))
    _write_images(folder, few, validation)
    mean, deviation = training.statistics()
    recipe = ours.Recipe(
        epochs=epochs,
        batch_size=64,
        optimizer="adamw",
        learning_rate=0.001,
        weight_decay=0.05,
        augmentation=ours.AUGMENTATION,
    )
    how = {
        "validation": validation,
        "normalisation": ours.Normalisation(mean=mean, deviation=deviation),
        "device": device,
    }
    for kind in kinds:
        path = folder / f"{kind}.pt"
        if not path.exists():
            checkpoint = ours.learn(kind, ours.architecture(kind, width), training, recipe, seed=0, **how)
            _write_teacher(path, checkpoint)
            print(
                f"teacher {kind}: validation accuracy {checkpoint.facts.metrics['validation_accuracy']:.3f}", flush=True
            )


def prepare_random(folder: Path, kinds: Iterable[str], *, images: int, width: float) -> None:
    """Write random images and untrained teachers, which suffice to measure speed and need no other package."""
    _write_images(folder, ours.random_images(images), ours.random_images(max(16, images // 10)))
    for kind in kinds:
        _write_teacher(folder / f"{kind}.pt", ours.hardly_trained(kind, width))


def read_images(path: Path) -> ours.ImageSet:
    """Return the images at `path`, uint8 [N, 3, 32, 32] of ten classes."""
    return ours.ImageSet(*torch.load(path, weights_only=True), ours.CLASSES)


def read_teacher(path: Path) -> ours.Checkpoint:
    """Return the teacher at `path`."""
    facts, state = torch.load(path, weights_only=True)
    return ours.Checkpoint(ours.Facts.model_validate_json(facts), state)


def _write_images(folder: Path, training: ours.ImageSet, validation: ours.ImageSet) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("training", training), ("validation", validation)):
        torch.save((part.images, part.labels), folder / f"{name}.pt")


def _write_teacher(path: Path, checkpoint: ours.Checkpoint) -> None:
    partial = path.with_suffix(".part")
    torch.save((checkpoint.facts.model_dump_json(), dict(checkpoint.state)), partial)
    partial.rename(path)


def _coloured(images: ours.ImageSet) -> ours.ImageSet:
    """Return grey images in the middle of black ones of 32 x 32 pixels and three channels."""
    pixels = F.pad(images.images, (_MARGIN,) * 4).expand(-1, 3, -1, -1).contiguous()
    return ours.ImageSet(pixels, images.labels, images.class_names)
