# ruff: noqa: F401 - the benchmarks reach everything of the package through this module
"""The package as the benchmarks use it: the one file to change when a name or an internal of it changes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.experiment.config import Experiment, seed_for
from knowledge_transfer.experiment.stage_config import DistillationStage
from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.config import did_you_mean
from knowledge_transfer.learning.data.augmentation import Augmentation, render
from knowledge_transfer.learning.data.domains import domain_slices
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import split, stratified_indices, without
from knowledge_transfer.learning.distillation.config import Distillation, DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore, rank
from knowledge_transfer.learning.ensembles import fusion
from knowledge_transfer.learning.evaluation.predict import multiply_adds, predict
from knowledge_transfer.learning.hardware import autocast, has_native_bf16, resolve_device
from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.losses import objective as objectives
from knowledge_transfer.learning.losses.objective import DistillationObjective, combine
from knowledge_transfer.learning.models.architecture import NETWORKS, Architecture
from knowledge_transfer.learning.models.network import Network, folded
from knowledge_transfer.learning.train import (
    FitData,
    LearnOptions,
    Normalisation,
    learn,
    network_of,
    transfer_through,
)
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training import trainer as training
from knowledge_transfer.learning.training.optimizer import optimizer_of, rate_factor
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions, Trainer
from knowledge_transfer.learning.vectorized.members import learn_members

CPU = torch.device("cpu")
CLASSES = tuple("0123456789")
MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
NORMALISATION = Normalisation(mean=MEAN, deviation=DEVIATION)
ALPHA, TEMPERATURE = 0.9, 4.0  # the defaults of `DistillationConfig`
DISTILLATION = DistillationConfig(alpha=ALPHA, temperature=TEMPERATURE)
VIEWS, EPOCHS = 8, 50  # of the published recipes: the labelling of 8 views serves 50 epochs
AUGMENTATION = Augmentation(crop=4, flip=True)


def random_images(count: int, channels: int = 3) -> ImageSet:
    """Return random images uint8 [count, channels, 32, 32] of ten classes; speed does not depend on the content."""
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, channels, 32, 32), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(count) % 10, CLASSES)


def architecture(kind: str, width: float = 1.0, layers: dict[str, Any] | None = None) -> Architecture:
    """Return a checked architecture."""
    return Architecture.model_validate({"kind": kind, "width": width, "layers": layers})


def network(shape: Architecture) -> Network:
    """Return a network for images of the size of CIFAR-10's, always with the same weights."""
    return network_of(shape, random_images(1), NORMALISATION, seed=0)


def hardly_trained(kind: str, width: float = 1.0) -> Checkpoint:
    """Return a teacher of which only the speed counts, after a single step."""
    images, recipe = random_images(2), Recipe(epochs=1, batch_size=2, learning_rate=1e-6)
    data = FitData(images, images, NORMALISATION)
    return learn(kind, architecture(kind, width), data, recipe, LearnOptions(0, CPU))


def soft_labels(
    teachers: list[Checkpoint], images: ImageSet, device: torch.device, *, views: int = 1, seed: int = 0
) -> SoftLabels:
    """Return the logits of all teachers for `views` augmented views of every image."""
    return label(teachers, images, views=views, view_seed=seed, augmentation=AUGMENTATION, device=device)


def trainer_of(shape: Architecture, images: ImageSet, recipe: Recipe, device: torch.device) -> Trainer:
    """Return a trainer that learns from labels alone."""
    return Trainer(network(shape), images, recipe, FitOptions(shape.kind, 0, device))


def distilling_trainer(shape: Architecture, batch_size: int, batches: int, device: torch.device) -> Trainer:
    """Return a trainer for `batches` batches of images with stored soft labels of 8 views of each image."""
    images = random_images(batches * batch_size)
    objective = DistillationObjective(torch.randn(len(images), VIEWS, 10), DISTILLATION.soft_loss, ALPHA, view_seed=0)
    recipe = Recipe(epochs=EPOCHS, batch_size=batch_size, learning_rate=1e-3, views=VIEWS, augmentation=AUGMENTATION)
    return Trainer(network(shape), images, recipe, FitOptions(shape.kind, 0, device, objective))


def step_of(trainer: Trainer) -> Callable[[], None]:
    """Return a function that takes the next step of the trainer, with the next batch of images each time."""
    trainer.network.train()
    slices = domain_slices(trainer.domains[: trainer.batch_size], trainer.blocks, trainer.device)
    batches = torch.randperm(len(trainer.domains)).to(trainer.device).split(trainer.batch_size)
    taken = 0

    def step() -> None:
        nonlocal taken
        trainer.step(batches[taken % len(batches)], slices, taken // len(batches), taken)
        taken += 1

    return step


def phases_of(trainer: Trainer) -> list[tuple[object, str, str]]:
    """Return the functions of a step as (owner, attribute, phase), so that a profile can time each of them."""
    return [
        (training, "render", "views"),
        (objectives, "soft_targets", "views"),
        (trainer, "forward", "model, forward"),
        (trainer.objective, "loss", "loss"),
        (Tensor, "backward", "model, backward"),
        (trainer.updater.optimizer, "step", "optimizer"),
    ]


def warm_up(trainer: Trainer, *, compiled: bool) -> None:
    """Take two steps, with the forward pass compiled where `compiled` is true, then load the first weights again."""
    first = copy.deepcopy(trainer.state())
    if compiled:
        trainer.forward = torch.compile(trainer.network)  # type: ignore[assignment]
    step = step_of(trainer)
    step()
    step()
    trainer.load_state(first)


def distillation_loss(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """Return this package's loss of logits [B, C] and labels [B], a scalar."""
    soft = losses.kl(student_logits, teacher_logits, labels, temperature=TEMPERATURE)
    return combine(soft, F.cross_entropy(student_logits, labels), ALPHA)


def view_of(pixels: Tensor, indices: Tensor) -> Tensor:
    """Return one augmented view uint8 [B, C, H, W] of the images at `indices`."""
    return render(pixels, indices, view=0, seed=0, augmentation=AUGMENTATION).pixels
