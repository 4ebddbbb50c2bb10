"""What every side receives: the same pair, images, teachers, first weights and hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.common import ours
from benchmarks.common.bench import KINDS
from benchmarks.common.usual import PilImages, one_teacher
from benchmarks.speed.peers.store import read_images, read_teacher


@dataclass(frozen=True)
class Pair:
    """Teachers and student, with the epochs and the learning rate of AdamW, and those of Muon for as much accuracy."""

    teachers: tuple[str, ...]
    student: str
    epochs: int
    rate: float
    muon: tuple[int, float]


PAIRS = {
    "vgg19-simple_cnn": Pair(("vgg19",), "simple_cnn", epochs=12, rate=0.004, muon=(8, 0.015)),
    "resnet50-resnet8": Pair(("resnet50",), "resnet8", epochs=12, rate=0.01, muon=(6, 0.025)),
    "ensemble-vgg19": Pair(KINDS[:4], "vgg19", epochs=10, rate=0.001, muon=(5, 0.003)),
}


@dataclass
class Task:
    """One fit: `epochs` of the student of `pair` with the teachers in `folder`, all on one device.

    Stored soft labels are of `views` views of every image; `workers` are the processes of the usual image loader. The
    last images of a shuffled set that fill no batch take no part in an epoch.
    """

    pair: str
    folder: str
    seed: int
    epochs: int
    batch: int
    rate: float
    width: float
    workers: int
    device_name: str
    views: int

    def __post_init__(self) -> None:
        self.device = ours.resolve_device(self.device_name)
        self.mixed = ours.has_native_bf16(self.device)  # where bfloat16 is emulated it is slower than float32
        folder, pair = Path(self.folder), PAIRS[self.pair]
        self.images, self.validation = (read_images(folder / f"{part}.pt") for part in ("training", "validation"))
        self.teachers = [read_teacher(folder / f"{kind}.pt") for kind in pair.teachers]
        facts = self.teachers[0].facts  # the normalisation that all teachers share
        self.normalisation = ours.Normalisation(mean=facts.mean, deviation=facts.deviation)
        self.architecture = ours.architecture(pair.student, self.width)
        self.steps = len(self.images) // self.batch
        self.recipe = ours.Recipe(
            epochs=self.epochs,
            batch_size=self.batch,
            optimizer="adamw",
            learning_rate=self.rate,
            weight_decay=0.05,
            views=self.views,
            augmentation=ours.AUGMENTATION,
        )

    @cached_property
    def student(self) -> ours.Network:
        """The student, whose first weights depend on the seed alone; its `body` takes normalised pixels."""
        return ours.network_of(self.architecture, self.images, self.normalisation, self.seed).to(self.device)

    def teacher(self) -> nn.Module:
        """Return a frozen module from normalised pixels to logits: the teacher, or the ensemble as one."""
        return one_teacher([checkpoint.build().body for checkpoint in self.teachers], self.device)

    def factor(self, step: int) -> float:
        """Return the factor on the learning rate in `step`, counted from 0."""
        return ours.rate_factor(step, self.epochs * self.steps, self.recipe.schedule, self.recipe.warmup)

    def optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of every side: AdamW without decay of biases and normalisation."""
        return ours.optimizer_of(module, self.recipe)

    def scheduled(self, module: nn.Module) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
        """Return the optimizer, and its schedule by step."""
        optimizer = self.optimizer(module)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, self.factor)

    def pil_images(self) -> PilImages:
        """Return the training images for sides with an image loader."""
        return PilImages(self.images, self.normalisation.mean, self.normalisation.deviation)

    def loader_options(self) -> dict[str, Any]:
        """Return the options of every image loader; its processes stay from one epoch to the next."""
        is_cuda = self.device.type == "cuda"
        return {
            "batch_size": self.batch,
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "drop_last": True,
            "pin_memory": is_cuda,
            # A forked process would inherit a CUDA context that it cannot use.
            "multiprocessing_context": "spawn" if is_cuda and self.workers else None,
        }

    def loader(self) -> DataLoader[tuple[Tensor, int]]:
        """Return a shuffling loader of the training images."""
        return DataLoader(self.pil_images(), shuffle=True, **self.loader_options())
