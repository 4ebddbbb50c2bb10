"""Images and teachers in a folder, made once: sides read them and import nothing but what they use."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import stratified_indices
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training.recipe import Recipe

# Wider than the shift: whether what moves in from outside is black or mirrored is then the same.
_SIDE, _MARGIN = 22, 5


def prepare(
    folder: Path, kinds: Iterable[str], *, images: int, width: float, epochs: int, device: torch.device
) -> None:
    """Write the images, and the teachers of these kinds that are not there yet, to `folder`.

    Teachers learn from the whole training part, of which the students see `images`; validation is the test part.
    """
    from knowledge_transfer.datasets.sources import digits

    folder.mkdir(parents=True, exist_ok=True)
    training, validation = (_coloured(digits.read(part, _SIDE)) for part in ("train", "test"))
    few = training.subset(stratified_indices(training.labels, images, seed=0))
    for name, part in (("training", few), ("validation", validation)):
        save_file({"images": part.images, "labels": part.labels}, folder / f"{name}.safetensors")
    mean, deviation = training.statistics()
    recipe = Recipe(
        epochs=epochs,
        batch_size=64,
        optimizer="adamw",
        learning_rate=0.001,
        weight_decay=0.05,
        augmentation=Augmentation(crop=4, flip=True),
    )
    for kind in kinds:
        path = folder / f"{kind}.safetensors"
        if path.exists():
            continue
        checkpoint = learn(
            kind,
            Architecture.model_validate({"kind": kind, "width": width}),
            FitData(training, validation, Normalisation(mean=mean, deviation=deviation)),
            recipe,
            LearnOptions(seed=0, device=device),
        )
        unfinished = path.with_suffix(".part")
        save_file(dict(checkpoint.state), unfinished, metadata={"facts": checkpoint.facts.model_dump_json()})
        unfinished.rename(path)
        print(f"teacher {kind}: validation accuracy {checkpoint.facts.metrics['validation_accuracy']:.3f}", flush=True)


def read_images(path: Path) -> ImageSet:
    """Return the images at `path`, uint8 [N, 3, 32, 32] of ten classes."""
    with safe_open(path, framework="pt") as file:
        return ImageSet(file.get_tensor("images"), file.get_tensor("labels"), tuple("0123456789"))


def read_teacher(path: Path) -> Checkpoint:
    """Return the teacher at `path`."""
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return Checkpoint(Facts(**json.loads(file.metadata()["facts"])), state)


def _coloured(images: ImageSet) -> ImageSet:
    """Return grey images in the middle of black ones of 32 x 32 pixels and three channels."""
    pixels = F.pad(images.images, (_MARGIN,) * 4).expand(-1, 3, -1, -1).contiguous()
    return ImageSet(pixels, images.labels, images.class_names)
