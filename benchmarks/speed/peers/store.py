"""Images and teachers in a folder: made once, in files that need torch alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.common import ours


@dataclass(frozen=True)
class Sizes:
    """How many images students learn from, teachers learn from and validation has, all of them disjoint from it."""

    images: int
    teacher_images: int
    validation: int


def prepare(
    folder: Path, kinds: Iterable[str], data: Path, sizes: Sizes, *, width: float, epochs: int, device: torch.device
) -> None:
    """Write images of `data`, a folder with one folder per class, and those teachers that `folder` does not have yet.

    Teachers learn for `epochs` from images among which those of the students are.
    """
    from knowledge_transfer.datasets.sources import image_folder

    images = image_folder.read(data, "train", 32)
    some = images.subset(ours.stratified_indices(images.labels, sizes.teacher_images + sizes.validation, seed=0))
    training, validation = ours.split(some, sizes.validation / len(some), seed=0)
    few = training.subset(ours.stratified_indices(training.labels, sizes.images, seed=0))
    _write_images(folder, few, validation)
    mean, deviation = training.statistics()
    recipe = ours.Recipe(
        epochs=epochs,
        batch_size=64,
        optimizer="muon",
        learning_rate=0.003,
        weight_decay=0.05,
        augmentation=ours.AUGMENTATION,
    )
    data = ours.FitData(training, validation, ours.Normalisation(mean=mean, deviation=deviation))
    for kind in kinds:
        path = folder / f"{kind}.pt"
        if not path.exists():
            checkpoint = ours.learn(kind, ours.architecture(kind, width), data, recipe, ours.LearnOptions(0, device))
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
    """Return the images at `path`, uint8 [N, 3, 32, 32]."""
    return ours.ImageSet(*torch.load(path, weights_only=True))


def read_teacher(path: Path) -> ours.Checkpoint:
    """Return the teacher at `path`."""
    facts, state = torch.load(path, weights_only=True)
    return ours.Checkpoint(ours.Facts.model_validate_json(facts), state)


def _write_images(folder: Path, training: ours.ImageSet, validation: ours.ImageSet) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("training", training), ("validation", validation)):
        torch.save((part.images, part.labels, tuple(part.class_names)), folder / f"{name}.pt")


def _write_teacher(path: Path, checkpoint: ours.Checkpoint) -> None:
    partial = path.with_suffix(".part")
    torch.save((checkpoint.facts.model_dump_json(), dict(checkpoint.state)), partial)
    partial.rename(path)
