"""Learning from stored soft labels against the usual loop, which asks the teacher in every step."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from benchmarks.common import (
    ALPHA,
    AUGMENTATION,
    DEVIATION,
    EPOCHS,
    MEAN,
    TEMPERATURE,
    VIEWS,
    as_checkpoint,
    network,
    random_images,
)
from benchmarks.gpu.bench import KINDS, Bench, Rows
from benchmarks.gpu.measure import seconds_of
from benchmarks.gpu.usual_loop import Bare, epoch
from benchmarks.usual import MeanOfProbabilities, PilImages
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.augmentation import render
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.objective import Distillation
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.hardware import autocast
from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.models.network import folded
from knowledge_transfer.learning.training.optimizer import optimizer_of
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions, Trainer

_PAIRS = {
    "vgg19 → simple_cnn": (("vgg19",), "simple_cnn"),
    "resnet50 → resnet8": (("resnet50",), "resnet8"),
    "four students → vgg19": (KINDS[:4], "vgg19"),
}


def rows(bench: Bench) -> Rows:
    """Yield a row for each pair of teachers and learner."""
    for name, (teachers, learner) in _PAIRS.items():
        yield name, partial(_row, bench, teachers, learner)


def _row(bench: Bench, teachers: Sequence[str], learner: str) -> dict[str, Any]:
    """Return the median images per second of each side, and how many times a rival's ours is, run by run.

    `usual` is the tutorials' loop, `in_step` this project's own step with the teacher asked in it: the same bfloat16,
    memory format and views on the device, so that what is left is what storing soft labels buys. `learning` counts the
    learner's step alone, `with_labelling` a fit of 50 epochs whose 8 views were labelled once, `of_four` that of each
    of four learners that share the labelling.
    """
    device, images = bench.device, random_images(bench.sizes.peer_images)
    checkpoints = [as_checkpoint(network(kind, bench.sizes.width), kind, bench.sizes.width) for kind in teachers]
    sides: dict[str, Callable[[], object]] = {
        "learning": _learning(bench, learner, images, checkpoints),
        "labelling": partial(_labelled, bench, images, checkpoints, bench.sizes.peer_views),
        "usual": _usual(bench, learner, images, checkpoints),
        "in_step": _in_step(bench, learner, images, checkpoints),
    }
    for work in sides.values():
        work()  # warm-up
    seen = {"labelling": len(images) * bench.sizes.peer_views}
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for _, side in itertools.product(range(bench.sizes.repeats), sides):
        rates[side].append(seen.get(side, len(images)) / seconds_of(sides[side], device))
    ratios = {rival: _ratios(rates["learning"], rates["labelling"], rates[rival]) for rival in ("usual", "in_step")}
    return {
        "images": len(images),
        "workers": bench.workers,
        "images_per_second": {side: statistics.median(found) for side, found in rates.items()},
        "ratio": ratios,
    }


def _ratios(learning: list[float], labelling: list[float], rival: list[float]) -> dict[str, float]:
    runs = list(zip(learning, labelling, rival, strict=True))
    return {
        "learning": statistics.median(ours / theirs for ours, _, theirs in runs),
        "with_labelling": statistics.median(_whole(ours, asked, 1) / theirs for ours, asked, theirs in runs),
        "of_four": statistics.median(_whole(ours, asked, 4) / theirs for ours, asked, theirs in runs),
    }


def _whole(learning: float, labelling: float, learners: int) -> float:
    """Return images per second with a learner's part of the labelling in it."""
    return 1 / (1 / learning + VIEWS / EPOCHS / learners / labelling)


def _labelled(bench: Bench, images: ImageSet, teachers: list[Checkpoint], views: int = 1) -> SoftLabels:
    return label(teachers, images, views=views, view_seed=0, augmentation=AUGMENTATION, device=bench.device)


def _learning(bench: Bench, kind: str, images: ImageSet, teachers: list[Checkpoint]) -> Callable[[], object]:
    distillation = DistillationConfig(alpha=ALPHA, temperature=TEMPERATURE)
    objective = Distillation(_labelled(bench, images, teachers), distillation).objective(images)
    recipe = Recipe(epochs=EPOCHS, batch_size=_batch(bench), learning_rate=1e-3, views=1, augmentation=AUGMENTATION)
    net = network(kind, bench.sizes.width)
    learner = Trainer(net, images, recipe, FitOptions(kind, 0, bench.device, objective))
    return lambda: learner.epoch(0)


def _usual(bench: Bench, kind: str, images: ImageSet, teachers: list[Checkpoint]) -> Callable[[], object]:
    on_gpu = bench.device.type == "cuda"
    loader = DataLoader(
        PilImages(images, MEAN, DEVIATION),
        batch_size=_batch(bench),
        shuffle=True,
        num_workers=bench.workers,
        persistent_workers=bench.workers > 0,
        pin_memory=on_gpu,
        # Forked, the workers would inherit a CUDA context that they cannot use.
        multiprocessing_context="spawn" if bench.workers else None,
    )
    members = [Bare(teacher.build()) for teacher in teachers]
    teacher = (members[0] if len(members) == 1 else MeanOfProbabilities(members)).to(bench.device)
    student = Bare(network(kind, bench.sizes.width)).to(bench.device)
    return lambda: epoch(student, teacher, loader, alpha=ALPHA, temperature=TEMPERATURE, device=bench.device)


def _in_step(bench: Bench, kind: str, images: ImageSet, teachers: list[Checkpoint]) -> Callable[[], object]:
    members = [folded(teacher.build()) for teacher in teachers]
    asked = (members[0] if len(members) == 1 else MeanOfProbabilities(members)).to(bench.device)
    asked = asked.to(memory_format=torch.channels_last).eval()
    student = network(kind, bench.sizes.width).to(bench.device).to(memory_format=torch.channels_last)
    recipe = Recipe(batch_size=_batch(bench), learning_rate=1e-3)
    optimizer, pixels, labels = optimizer_of(student, recipe), images.images.to(bench.device), images.labels
    on_device = labels.to(bench.device)

    def work() -> None:
        student.train()
        for indices in torch.randperm(len(labels)).to(bench.device).split(recipe.batch_size):
            view = render(pixels, indices, view=0, seed=0, augmentation=AUGMENTATION).pixels
            with autocast(bench.device, "auto"):
                seen = view.to(memory_format=torch.channels_last)
                with torch.no_grad():
                    teacher_logits = asked(seen).float()
                student_logits = student(seen).float()
            soft = losses.kl(student_logits, teacher_logits, on_device[indices], temperature=TEMPERATURE)
            loss = losses.combine(soft, F.cross_entropy(student_logits, on_device[indices]), ALPHA)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return work


def _batch(bench: Bench) -> int:
    return bench.sizes.batches[0]
