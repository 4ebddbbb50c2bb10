"""Trainer: the steps of a fit, from the order of the images to the change of the weights."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from knowledge_transfer.learning.data.augmentation import render
from knowledge_transfer.learning.data.domains import DomainIndex, DomainSlices, domain_slices
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.streaming import Window, windowed_order
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.hardware import autocast
from knowledge_transfer.learning.losses.image_weights import balanced
from knowledge_transfer.learning.losses.objective import DistillationObjective, Objective
from knowledge_transfer.learning.models.network import Network, cpu_state, mean_of_heads
from knowledge_transfer.learning.training.optimizer import Updater
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.sharding import WHOLE, Shard


class TrainingDivergedError(RuntimeError):
    """The loss stopped being a finite number."""


@dataclass(frozen=True, eq=False)
class FitOptions:
    """What a fit needs beside its network, images and recipe.

    Events and messages carry `name`. `seed` decides the order of the images and dropout. The views follow the seed of
    the `distillation`, else `view_seed`, else `seed`. `image_weights` float [N] multiply each image's loss.
    """

    name: str
    seed: int
    device: torch.device
    distillation: DistillationObjective | None = None
    view_seed: int | None = None
    image_weights: Tensor | None = None

    @property
    def seed_of_views(self) -> int:
        """The seed of the views that the student sees."""
        if self.distillation is not None:
            return self.distillation.view_seed
        return self.seed if self.view_seed is None else self.view_seed


@dataclass(frozen=True)
class EpochResult:
    """What the steps of an epoch measured: for each network its mean loss and accuracy, and the speed of all."""

    losses: list[float]
    accuracies: list[float]
    images_per_second: float


class Trainer:
    """A network with its optimizer, images and objective, and its shard of every batch."""

    def __init__(
        self, network: Network, images: ImageSet, recipe: Recipe, options: FitOptions, shard: Shard = WHOLE
    ) -> None:
        device = options.device
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.recipe, self.options, self.device, self.names = recipe, options, device, [options.name]
        self.batch_size = min(recipe.batch_size, len(images))
        # A short last batch would have its own noise and batch statistics; which images it drops changes each epoch.
        self.steps_per_epoch = len(images) // self.batch_size
        # Whole batches: the images of one are all on the device at once.
        window = recipe.window and -(-recipe.window // self.batch_size) * self.batch_size
        self.pixels = Window(images.images, device, window) if window else images.images.to(device)
        self.blocks, self.domains = images.blocks, images.domains
        self.domain_index = DomainIndex.of(images.domains.to(device)) if len(images.blocks) > 1 else None
        weights = balanced(images, options.image_weights) if recipe.balance else options.image_weights
        self.objective = Objective(images, recipe.label_smoothing, device, options.distillation, weights)
        self.shard, self.rows = shard, shard.rows(self.batch_size)
        self.forward = shard.wrap(self.network, self.batch_size)
        self.updater = Updater(self.network, recipe, recipe.epochs * self.steps_per_epoch)

    def state(self) -> dict[str, Any]:
        """Return all that steps change and that the next epoch depends on."""
        return {"network": self.network.state_dict(), **self.updater.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Load a state returned by `state()`."""
        self.network.load_state_dict(state["network"])
        self.updater.load_state(state)

    def epoch(self, epoch: int) -> EpochResult:
        """Take every step of one epoch. Raises TrainingDivergedError, naming the step, for a loss of NaN or inf."""
        # Seeded by epoch, so that order and dropout do not depend on how many numbers earlier epochs drew.
        torch.manual_seed((self.options.seed << 20) + epoch)
        self.network.train()
        began = time.perf_counter()
        losses, correct = run_steps(
            self.step(indices, domain_slices(self.domains[batch], self.blocks, self.device), epoch, number)
            for number, (batch, indices) in enumerate(self.batches(), epoch * self.steps_per_epoch)
        )
        seen = self.steps_per_epoch * self.batch_size
        speed = seen / (time.perf_counter() - began)
        require_finite(losses, self.names, epoch, self.updater.rate)
        return EpochResult([float(losses.mean())], [float(correct) / seen], speed)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images of each step, int64 [batch_size], on the CPU and on the device."""
        used, size = self.steps_per_epoch * self.batch_size, self.batch_size
        windows: Iterable[Tensor]
        if isinstance(self.pixels, Window):
            windows = self.pixels.over(windowed_order(len(self.domains), self.pixels.size)[:used])
        else:
            windows = [torch.randperm(len(self.domains))[:used]]
        for window in windows:
            yield from zip(window.split(size), window.to(self.device).split(size), strict=True)

    def step(self, indices: Tensor, slices: DomainSlices, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Take one step on the images at `indices`; return the loss and the number of correct predictions.

        `indices` int64 [batch_size] on the device; `slices` of its domains; `epoch` chooses the view, `step` (of the
        whole fit, from 0) the learning rate. Both results are scalars on the device. Raises ValueError where the
        objective refuses the shapes, IndexError for images outside the window.
        """
        number = epoch % self.recipe.view_count
        logits, targets = self.predict_view(indices, number)
        loss = self.objective.loss(logits, targets, indices, number, slices)
        self.updater.update(loss, step)
        right = self.objective.answers(targets, indices, number)
        return loss.detach(), (mean_of_heads(logits.detach()).argmax(1) == right).sum()

    def predict_view(self, indices: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Return the network's logits on view `number` of the images at `indices`, and their targets, [B, classes]."""
        own, augmentation = indices[self.rows], self.recipe.augmentation
        seed, index = self.options.seed_of_views, self.domain_index
        view = render(self.pixels, own, view=number, seed=seed, augmentation=augmentation, domain_index=index)
        with autocast(self.device, self.recipe.precision):
            logits = self.forward(view.pixels.to(memory_format=torch.channels_last)).float()
        # From here on the whole batch: not every loss is a mean over its images.
        targets = self.shard.gather(self.objective.targets(view, own), len(indices))
        return self.shard.gather(logits, len(indices)), targets

    def predict(self, images: ImageSet) -> Tensor:
        """Return the logits float32 [1, images, classes] of the network as it is evaluated, on the CPU."""
        network = self.updater.evaluated_network
        return predict(network, images, device=self.device, precision=self.recipe.precision)[None]

    def weights(self) -> list[dict[str, Tensor]]:
        """Return a copy of the weights that are evaluated, on the CPU, in a list of one network."""
        return [cpu_state(self.updater.evaluated_network)]


def run_steps(steps: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the losses of all steps [S, …] and the sums of their correct predictions [...], on the CPU."""
    losses, correct = zip(*steps, strict=True)
    # The epoch's only wait for the device.
    return torch.stack(losses).cpu(), torch.stack(correct).sum(0).cpu()


def require_finite(losses: Tensor, names: Sequence[str], epoch: int, rate: float) -> None:
    """Raise TrainingDivergedError for the first step of `losses` [S] or [S, networks] that is not a finite number."""
    finite = losses.view(len(losses), -1).isfinite()
    if not finite.all():
        step, network = (~finite).nonzero()[0].tolist()
        raise TrainingDivergedError(
            f"{names[network]}: the loss is {float(losses.view(len(losses), -1)[step, network])} at epoch {epoch + 1}, "
            f"step {step + 1} (learning rate {rate:.3g}): lower learning_rate or set gradient_clip"
        )
