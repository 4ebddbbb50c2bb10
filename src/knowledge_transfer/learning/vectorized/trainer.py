"""One fit of many stacked networks: the result of a `Trainer` for each of them, in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from knowledge_transfer.learning.data.augmentation import render
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.hardware import autocast
from knowledge_transfer.learning.losses.image_weights import balanced
from knowledge_transfer.learning.losses.objective import Objective
from knowledge_transfer.learning.models.network import Network
from knowledge_transfer.learning.training.events import EpochEnded
from knowledge_transfer.learning.training.loop import FitState, own_generator, train_epochs
from knowledge_transfer.learning.training.optimizer import Updater
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import EpochResult, FitOptions, require_finite, run_steps
from knowledge_transfer.learning.vectorized.network import Stacked, predict_all


def allows_stacking(recipe: Recipe) -> bool:
    """Return whether networks can be stacked with that recipe: its optimizer works by element, on all images."""
    return recipe.optimizer != "muon" and recipe.window is None


def fit_stacked(
    networks: Sequence[Network],
    images: ImageSet,
    recipe: Recipe,
    options: Sequence[FitOptions],
    *,
    validation: ImageSet,
    report: Callable[[list[EpochEnded]], None] = lambda _: None,
) -> list[FitState]:
    """Train `networks`, of kind `cnn` and one shape, in one pass; return what `loop.fit` would for each, in order.

    All options have the same device and `distillation`, and no image weights. Weights and losses are those of single
    fits up to rounding; dropout draws other masks. `report` receives all rows of an epoch. Raises ValueError for a
    recipe that cannot be stacked, and TrainingDivergedError, naming the network, for a loss that is not finite.
    """
    if not allows_stacking(recipe):
        raise ValueError("networks with muon or a window of images cannot be stacked: train them one after another")
    states = [FitState() for _ in networks]
    with own_generator(options[0].device):
        train_epochs(StackedTrainer(networks, images, recipe, options), validation, states, report=report)
    return states


class StackedTrainer:
    """Stacked networks with their optimizer, images and objective."""

    def __init__(
        self, networks: Sequence[Network], images: ImageSet, recipe: Recipe, options: Sequence[FitOptions]
    ) -> None:
        self.recipe, self.options, self.device = recipe, options, options[0].device
        self.names = [each.name for each in options]
        self.network = Stacked(networks).to(self.device)
        self.pixels = images.images.to(self.device)
        self.objective = Objective(
            images,
            recipe.label_smoothing,
            self.device,
            options[0].distillation,
            balanced(images) if recipe.balance else None,
        )
        seeds = [each.seed_of_views for each in options]
        # One seed where all networks see the same views: they are then rendered in one call.
        self.view_seeds = seeds[:1] if len(set(seeds)) == 1 else seeds
        self.batch_size = min(recipe.batch_size, len(images))
        self.steps_per_epoch = len(images) // self.batch_size
        self.updater = Updater(
            self.network, recipe, recipe.epochs * self.steps_per_epoch, clip=self.network.clip_gradients
        )

    def epoch(self, epoch: int) -> EpochResult:
        """Take every step of one epoch. Raises TrainingDivergedError for a loss that is not finite."""
        orders = torch.stack([_order(each.seed, epoch, len(self.pixels)) for each in self.options]).to(self.device)
        self.network.train()
        began = time.perf_counter()
        losses, correct = run_steps(
            self.step(orders[:, step * self.batch_size :][:, : self.batch_size], epoch, number)
            for step, number in enumerate(range(epoch * self.steps_per_epoch, (epoch + 1) * self.steps_per_epoch))
        )
        seen = self.steps_per_epoch * self.batch_size
        speed = seen * len(self.names) / (time.perf_counter() - began)
        require_finite(losses, self.names, epoch, self.updater.rate)
        return EpochResult(losses.mean(0).tolist(), (correct / seen).tolist(), speed)

    def step(self, indices: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Take one step, each network on its row of `indices` [M, B]; return losses and correct counts [M]."""
        number = epoch % self.recipe.view_count
        pixels, targets = self._view(indices, number)
        with autocast(self.device, self.recipe.precision):
            logits = self.network(pixels).float()
        losses = self.objective.losses_of_networks(logits, targets, indices, number)
        # The gradient of the sum gives each network the gradient of its own loss.
        self.updater.update(losses.sum(), step)
        return losses.detach(), (logits.detach().argmax(2) == targets.argmax(2)).sum(1)

    def _view(self, indices: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Return pixels [M, B, C, H, W] and targets [M, B, classes] of that view."""
        batches = indices.flatten().tensor_split(len(self.view_seeds))
        views = [
            render(self.pixels, batch, view=number, seed=seed, augmentation=self.recipe.augmentation)
            for batch, seed in zip(batches, self.view_seeds, strict=True)
        ]
        targets = torch.cat([self.objective.targets(view, batch) for view, batch in zip(views, batches, strict=True)])
        pixels = torch.cat([view.pixels for view in views])
        return pixels.unflatten(0, indices.shape), targets.unflatten(0, indices.shape)

    def predict(self, images: ImageSet) -> Tensor:
        """Return the logits float32 [M, images, classes] of the networks as they are evaluated, on the CPU."""
        return predict_all(self._evaluated, images, device=self.device, precision=self.recipe.precision)

    def weights(self) -> list[dict[str, Tensor]]:
        """Return a copy of the weights that are evaluated, on the CPU, for each network."""
        return self._evaluated.states()

    @property
    def _evaluated(self) -> Stacked:
        return self.updater.evaluated_network  # type: ignore[return-value]


def _order(seed: int, epoch: int, count: int) -> Tensor:
    torch.manual_seed((seed << 20) + epoch)  # as in `Trainer.epoch`
    return torch.randperm(count)
