"""What every side is given: the same pair, images, teachers, first weights and hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from benchmarks.common import AUGMENTATION
from benchmarks.peers.store import read_images, read_teacher
from benchmarks.usual import MeanOfProbabilities
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.hardware import has_native_bf16, resolve_device
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import Network
from knowledge_transfer.learning.train import Normalisation, network_of
from knowledge_transfer.learning.training.optimizer import optimizer_of, rate_factor
from knowledge_transfer.learning.training.recipe import Recipe

ENSEMBLE = ("simple_cnn", "resnet8", "resnet50", "squeezenet")


@dataclass(frozen=True)
class Pair:
    """Who teaches whom; epochs, batch size and learning rate with which that is short and the student learns enough."""

    teachers: tuple[str, ...]
    student: str
    epochs: int
    batch: int
    rate: float


PAIRS = {
    "vgg19-simple_cnn": Pair(("vgg19",), "simple_cnn", epochs=12, batch=64, rate=0.002),
    "resnet50-resnet8": Pair(("resnet50",), "resnet8", epochs=5, batch=32, rate=0.01),
    "ensemble-vgg19": Pair(ENSEMBLE, "vgg19", epochs=4, batch=32, rate=0.001),
}


@dataclass(frozen=True)
class Task:
    """One fit: `epochs` of the student of `pair`, taught by the models in `folder`, all on `device`.

    `views` of every image are labelled where soft labels are stored.
    """

    pair: str
    folder: Path
    seed: int
    epochs: int
    batch: int
    rate: float
    width: float
    workers: int
    device_name: str
    views: int

    @property
    def device(self) -> torch.device:
        """Where teacher and student are."""
        return resolve_device(self.device_name)

    @property
    def recipe(self) -> Recipe:
        """The recipe, as this project's `fit` takes it."""
        return Recipe(
            epochs=self.epochs,
            batch_size=self.batch,
            optimizer="adamw",
            learning_rate=self.rate,
            weight_decay=0.05,
            views=self.views,
            augmentation=AUGMENTATION,
        )

    @property
    def mixed(self) -> bool:
        """Whether sides that can use bfloat16 do: where it is emulated it is slower than float32."""
        return has_native_bf16(self.device)

    @cached_property
    def images(self) -> ImageSet:
        """The training images."""
        return read_images(self.folder / "training.safetensors")

    @cached_property
    def validation(self) -> ImageSet:
        """The validation images."""
        return read_images(self.folder / "validation.safetensors")

    @cached_property
    def teachers(self) -> list[Checkpoint]:
        """The teacher, or the members of the ensemble."""
        return [read_teacher(self.folder / f"{kind}.safetensors") for kind in PAIRS[self.pair].teachers]

    @cached_property
    def normalisation(self) -> Normalisation:
        """That of the teachers, which all share."""
        facts = self.teachers[0].facts
        return Normalisation(mean=facts.mean, deviation=facts.deviation)

    @cached_property
    def student(self) -> Network:
        """The student; its first weights depend on the seed alone. Takes pixels; its `body` takes normalised ones."""
        architecture = Architecture.model_validate({"kind": PAIRS[self.pair].student, "width": self.width})
        return network_of(architecture, self.images, self.normalisation, self.seed).to(self.device)

    @cached_property
    def teacher(self) -> nn.Module:
        """A frozen module from normalised pixels to logits: the teacher, or the ensemble as one."""
        bodies = [checkpoint.build().body for checkpoint in self.teachers]
        module = bodies[0] if len(bodies) == 1 else MeanOfProbabilities(bodies)
        return module.eval().requires_grad_(False).to(self.device)

    @property
    def steps(self) -> int:
        """Steps of an epoch; the last images of a shuffled set that fill no batch are dropped."""
        return len(self.images) // self.batch

    def factor(self, step: int) -> float:
        """Return the factor on the learning rate in `step`, counted from 0, one linear rise and fall over all."""
        recipe = self.recipe
        return rate_factor(step, self.epochs * self.steps, recipe.schedule, recipe.warmup)

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of every side: AdamW, biases and normalisation not decayed."""
        return optimizer_of(module, self.recipe)
