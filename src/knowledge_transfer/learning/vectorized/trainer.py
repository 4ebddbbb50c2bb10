"""One fit of many networks stacked: the steps of a `Trainer`, and what a `Trainer` would make of each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.data.augmentation import render, soft_targets
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.hardware import autocast
from knowledge_transfer.learning.losses.distillation import combine
from knowledge_transfer.learning.models.network import Network
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.loop import Fitted
from knowledge_transfer.learning.training.optimizer import average_of, optimizer_of, rate_factor
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import DistillationObjective, TrainingDivergedError
from knowledge_transfer.learning.vectorized.network import Stacked, predict_all


def allows_stacking(recipe: Recipe) -> bool:
    """Return whether networks can be stacked with that recipe: each step sees one matrix of weights, all images."""
    return recipe.optimizer != "muon" and recipe.window is None


def fit_stacked(
    names: Sequence[str],
    networks: Sequence[Network],
    images: ImageSet,
    recipe: Recipe,
    *,
    validation: ImageSet,
    seeds: Sequence[int],
    device: torch.device,
    objective: DistillationObjective | None = None,
    view_seed: int | None = None,
    tell: Callable[[list[events.EpochEnded]], None] = lambda _: None,
) -> list[Fitted]:
    """Train `networks`, kind `cnn` and of one shape, in one pass; return what `training.fit` would of each, in order.

    Each has the seed of its place: the order of its images is that of its own fit, its views those of the objective, or
    of `view_seed`, or of its seed. Weights and losses are those of single fits up to rounding; dropout draws other
    masks. `tell` is given all their rows after each epoch. Raises ValueError for a recipe that cannot be stacked, and
    TrainingDivergedError, naming the network, at the end of the epoch in which a loss is no finite number.
    """
    if not allows_stacking(recipe):
        raise ValueError("networks with muon or a window of images cannot be stacked: train them one after another")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        course = _Course(len(names))
        learner = _StackedLearner(networks, images, recipe, seeds, device, objective, view_seed)
        began = time.perf_counter()
        for epoch in range(recipe.epochs):
            losses, hits, speed = learner.epoch(epoch, names)
            elapsed = time.perf_counter() - began
            logits = predict_all(learner.answering, validation, device=device, precision=recipe.precision)
            rows = [
                events.EpochEnded(
                    model=name,
                    epoch=epoch + 1,
                    epochs=recipe.epochs,
                    loss=float(losses[place]),
                    accuracy=float(hits[place]),
                    validation_loss=float(F.cross_entropy(logits[place], validation.labels)),
                    validation_accuracy=float((logits[place].argmax(1) == validation.labels).float().mean()),
                    learning_rate=learner.rate,
                    images_per_second=speed,
                    seconds_left=elapsed / (epoch + 1) * (recipe.epochs - epoch - 1),
                )
                for place, name in enumerate(names)
            ]
            tell(rows)
            course.add(rows, recipe, learner.answering)
    return course.fitted


@dataclass
class _Course:
    """Of every network its rows, and the weights and the row to keep so far."""

    count: int
    histories: list[list[events.EpochEnded]] = field(default_factory=list)
    kept: dict[int, tuple[events.EpochEnded, dict[str, Tensor]]] = field(default_factory=dict)

    def add(self, rows: list[events.EpochEnded], recipe: Recipe, network: Stacked) -> None:
        """Take note of an epoch."""
        self.histories = self.histories or [[] for _ in rows]
        is_last = rows[0].epoch == recipe.epochs
        better = [
            place not in self.kept or row.validation_accuracy > self.kept[place][0].validation_accuracy
            for place, row in enumerate(rows)
        ]
        keep = better if recipe.keep == "best" else [is_last] * len(rows)
        states = network.states() if any(keep) else []
        for place, row in enumerate(rows):
            self.histories[place].append(row)
            if keep[place]:
                self.kept[place] = (row, states[place])

    @property
    def fitted(self) -> list[Fitted]:
        """What came of each."""
        return [Fitted(self.kept[place][1], self.histories[place], self.kept[place][0]) for place in range(self.count)]


class _StackedLearner:
    """Stacked networks with their optimizer, the images on the device and the objective."""

    def __init__(
        self,
        networks: Sequence[Network],
        images: ImageSet,
        recipe: Recipe,
        seeds: Sequence[int],
        device: torch.device,
        objective: DistillationObjective | None,
        view_seed: int | None,
    ) -> None:
        self.network = Stacked(networks).to(device)
        self.pixels, self.labels = images.images.to(device), images.labels.to(device)
        self.classes = len(images.class_names)
        self.recipe, self.seeds, self.device, self.objective = recipe, seeds, device, objective
        self.teacher_logits = None if objective is None else objective.teacher_logits.to(device)
        common = view_seed if objective is None else objective.view_seed
        self.view_seeds = list(seeds) if common is None else [common]
        self.batch_size = min(recipe.batch_size, len(images))
        self.steps_per_epoch = len(images) // self.batch_size
        self.optimizer = optimizer_of(self.network, recipe)
        self.average = average_of(self.network, recipe)

    @property
    def answering(self) -> Stacked:
        """The networks whose weights count."""
        return self.network if self.average is None else self.average.module  # type: ignore[return-value]

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def epoch(self, epoch: int, names: Sequence[str]) -> tuple[Tensor, Tensor, float]:
        """Take every step of one epoch; return each network's loss and accuracy [M], and images per second of all."""
        orders = torch.stack([_order(seed, epoch, len(self.labels)) for seed in self.seeds]).to(self.device)
        self.network.train()
        losses, correct = [], torch.zeros(len(self.seeds), device=self.device)
        began = time.perf_counter()
        for step in range(self.steps_per_epoch):
            batch = slice(step * self.batch_size, (step + 1) * self.batch_size)
            loss, hits = self.step(orders[:, batch], epoch, epoch * self.steps_per_epoch + step)
            losses.append(loss)
            correct += hits
        seen = self.steps_per_epoch * self.batch_size
        curves = torch.stack(losses).cpu()  # the epoch's only wait for the device
        speed = seen * len(self.seeds) / (time.perf_counter() - began)
        self._require_finite(curves, epoch, names)
        return curves.mean(0), correct.cpu() / seen, speed

    def step(self, indices: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Take one step, each network on its row of `indices` [M, B]; return losses and right answers [M]."""
        recipe, number = self.recipe, epoch % self.recipe.view_count
        pixels, targets = self._view(indices, number)
        with autocast(self.device, recipe.precision):
            logits = self.network(pixels).float()
        hard = F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(0, 1), label_smoothing=recipe.label_smoothing, reduction="none"
        )
        loss = hard.view(indices.shape).mean(1)
        if self.objective is not None and self.teacher_logits is not None:
            teacher = self.teacher_logits[indices, number]
            soft = torch.vmap(self.objective.soft_loss)(logits, teacher, targets.argmax(2))
            loss = combine(soft, loss, self.objective.alpha)
        factor = rate_factor(step, recipe.epochs * self.steps_per_epoch, recipe.schedule, recipe.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        # Of a sum, so that each network's gradient is that of its own loss.
        loss.sum().backward()
        if recipe.gradient_clip is not None:
            self._clip(recipe.gradient_clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return loss.detach(), (logits.detach().argmax(2) == targets.argmax(2)).sum(1)

    def _view(self, indices: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Return pixels [M, B, C, H, W] and targets [M, B, classes] of that view."""
        # All rows at once where they are seen alike: one call, as for one network.
        parts = indices.flatten().tensor_split(len(self.view_seeds))
        views = [
            render(self.pixels, part, view=number, seed=seed, augmentation=self.recipe.augmentation)
            for part, seed in zip(parts, self.view_seeds, strict=True)
        ]
        targets = [soft_targets(self.labels, view, part, self.classes) for view, part in zip(views, parts, strict=True)]
        pixels = torch.cat([view.pixels for view in views])
        return pixels.unflatten(0, indices.shape), torch.cat(targets).unflatten(0, indices.shape)

    def _clip(self, most: float) -> None:
        """Scale each network's gradient to a norm of at most `most`, as `clip_grad_norm_` does with one."""
        gradients = [p.grad.view(len(self.seeds), -1) for p in self.network.parameters() if p.grad is not None]
        norms = torch.stack([gradient.square().sum(1) for gradient in gradients]).sum(0).sqrt()
        factors = (most / (norms + 1e-6)).clamp(max=1)[:, None]
        for gradient in gradients:
            gradient.mul_(factors)

    def _require_finite(self, losses: Tensor, epoch: int, names: Sequence[str]) -> None:
        finite = losses.isfinite()
        if not finite.all():
            step, place = (~finite).nonzero()[0].tolist()
            raise TrainingDivergedError(
                f"{names[place]}: the loss is {float(losses[step, place])} at epoch {epoch + 1}, step {step + 1} "
                f"(learning rate {self.rate:.3g}): lower learning_rate or set gradient_clip"
            )


def _order(seed: int, epoch: int, count: int) -> Tensor:
    torch.manual_seed((seed << 20) + epoch)  # as in `Trainer.epoch`
    return torch.randperm(count)
