"""The steps of a fit: the order of this page is the life of a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from knowledge_transfer.learning.data.augmentation import Places, render, soft_targets
from knowledge_transfer.learning.data.domains import Parts, parts_of
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.streaming import Window, windowed_order
from knowledge_transfer.learning.hardware import autocast
from knowledge_transfer.learning.losses.by_domain import domain_loss, smoothed_cross_entropy, soft_loss_by_block
from knowledge_transfer.learning.losses.distillation import combine, per_image
from knowledge_transfer.learning.models.network import Network, mean_of_heads
from knowledge_transfer.learning.training.optimizer import average_of, optimizer_of, rate_factor
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.sharding import ALONE, Share


class TrainingDivergedError(RuntimeError):
    """The loss stopped being a finite number."""


@dataclass(frozen=True)
class DistillationObjective:
    """What a teacher adds to a fit.

    `teacher_logits` float [images, views, classes], or [images, views, members, classes] of teachers that are kept
    apart; `soft_loss` of (student logits, teacher logits, labels), its
    weight `alpha`, the weight `gamma` of the domain loss in a mix, and the seed of the views in which the teacher saw
    the images.
    """

    teacher_logits: Tensor
    soft_loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    alpha: float
    view_seed: int
    gamma: float = 0.0


class Trainer:
    """A network with its optimizer, its images, its objective and its share of every batch."""

    def __init__(
        self,
        network: Network,
        images: ImageSet,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        name: str,
        objective: DistillationObjective | None,
        view_seed: int | None,
        share: Share = ALONE,
        image_weights: Tensor | None = None,
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self.labels = images.labels.to(device)
        self.batch_size = min(recipe.batch_size, len(images))
        self.pixels = images.images.to(device) if recipe.window is None else self._window(images, recipe.window, device)
        self.classes = len(images.class_names)
        self.blocks, self.domains = images.blocks, images.domains
        self.places = Places.of(images.domains.to(device)) if self.is_mix else None
        self.recipe, self.seed, self.device, self.name, self.objective = recipe, seed, device, name, objective
        self.teacher_logits = None if objective is None else objective.teacher_logits.to(device)
        unguided = seed if view_seed is None else view_seed
        self.view_seed = unguided if objective is None else objective.view_seed
        self.image_weights = None if image_weights is None else self._checked(image_weights).to(device)
        # A short last batch would have its own noise and batch statistics; which images it drops changes each epoch.
        self.steps_per_epoch = len(images) // self.batch_size
        self.share, self.rows = share, share.rows(self.batch_size)
        self.answer = share.spread(self.network, self.batch_size)
        self.optimizer = optimizer_of(self.network, recipe)
        self.average = average_of(self.network, recipe)

    def _window(self, images: ImageSet, size: int, device: torch.device) -> Window:
        # Whole batches: the images of one are all on the device at once.
        return Window(images.images, device, -(-size // self.batch_size) * self.batch_size)

    def _checked(self, weights: Tensor) -> Tensor:
        if self.is_mix:
            raise ValueError("images of a mix of domains cannot be weighted one by one")
        if weights.shape != self.labels.shape or not bool((weights.isfinite() & (weights >= 0)).all()):
            raise ValueError(f"{len(self.labels)} images need as many weights, finite and none negative")
        return weights.float()

    @property
    def is_mix(self) -> bool:
        """Whether the images are of more than one domain."""
        return len(self.blocks) > 1

    @property
    def answering(self) -> Network:
        """The network whose weights count: the moving average where the recipe asks for one."""
        return self.network if self.average is None else self.average.module  # type: ignore[return-value]

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self) -> dict[str, Any]:
        """Return all that the next epoch depends on and that steps change; `restore` takes it."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where the learner of the same fit stood whose `state` this is."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def epoch(self, epoch: int) -> tuple[float, float, float]:
        """Take every step of one epoch; return its mean loss, accuracy and images per second."""
        # Seeded by epoch, so that order and dropout do not depend on how many numbers earlier epochs drew.
        torch.manual_seed((self.seed << 20) + epoch)
        self.network.train()
        losses, correct = [], torch.zeros((), device=self.device)
        began = time.perf_counter()
        for step, (batch, indices) in enumerate(self._batches()):
            parts = parts_of(self.domains[batch], self.blocks, self.device)
            loss, hits = self.step(indices, parts, epoch, epoch * self.steps_per_epoch + step)
            losses.append(loss)
            correct += hits
        seen = self.steps_per_epoch * self.batch_size
        curve = torch.stack(losses).cpu()  # the epoch's only wait for the device
        speed = seen / (time.perf_counter() - began)
        self._require_finite(curve, epoch)
        return float(curve.mean()), float(correct) / seen, speed

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images of each step, int64 [batch_size], on the CPU and on the device."""
        used = self.steps_per_epoch * self.batch_size
        parts: Iterable[Tensor]
        if isinstance(self.pixels, Window):
            parts = self.pixels.over(windowed_order(len(self.labels), self.pixels.size)[:used])
        else:
            parts = [torch.randperm(len(self.labels))[:used]]
        for part in parts:
            yield from zip(part.split(self.batch_size), part.to(self.device).split(self.batch_size), strict=True)

    def step(self, indices: Tensor, parts: Parts, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Take one step on the images at `indices`; return the loss and the number of right answers, on the device."""
        recipe = self.recipe
        number, own = epoch % recipe.view_count, indices[self.rows]
        view = render(
            self.pixels,
            own,
            view=number,
            seed=self.view_seed,
            augmentation=recipe.augmentation,
            places=self.places,
        )
        with autocast(self.device, recipe.precision):
            said = self.answer(view.pixels.to(memory_format=torch.channels_last)).float()
        # From here on the whole batch: not every loss is a mean over its images.
        said = self.share.gather(said, len(indices))
        logits = mean_of_heads(said)
        targets = self.share.gather(soft_targets(self.labels, view, own, self.classes), len(indices))
        if self.image_weights is not None:
            loss = self._weighted_loss(self.image_weights, logits, targets, indices, number)
        else:
            loss = self._loss(said, targets, parts, indices, number)
        factor = rate_factor(step, recipe.epochs * self.steps_per_epoch, recipe.schedule, recipe.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.gradient_clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return loss.detach(), (logits.detach().argmax(1) == targets.argmax(1)).sum()

    def _loss(self, said: Tensor, targets: Tensor, parts: Parts, indices: Tensor, view: int) -> Tensor:
        """Return the mean loss of a batch."""
        logits = mean_of_heads(said)
        loss = smoothed_cross_entropy(logits, targets, self.recipe.label_smoothing, parts)
        if self.objective is not None and self.teacher_logits is not None:
            objective, teacher = self.objective, self.teacher_logits[indices, view]
            soft = soft_loss_to(objective.soft_loss, said, teacher, targets.argmax(1), parts)
            loss = combine(soft, loss, objective.alpha)
            if self.is_mix and objective.gamma:
                loss = loss + objective.gamma * domain_loss(logits, parts)
        return loss

    def _weighted_loss(self, weights: Tensor, logits: Tensor, targets: Tensor, indices: Tensor, view: int) -> Tensor:
        """Return the mean over a batch of every image's weight times its loss; weights of mean 1 keep the scale."""
        loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing, reduction="none")
        if self.objective is not None and self.teacher_logits is not None:
            teacher = self.teacher_logits[indices, view]
            soft = per_image(self.objective.soft_loss, logits, teacher, targets.argmax(1))
            loss = combine(soft, loss, self.objective.alpha)
        return (weights[indices] * loss).mean()

    def _require_finite(self, losses: Tensor, epoch: int) -> None:
        finite = losses.isfinite()
        if not finite.all():
            step = int((~finite).nonzero()[0])
            raise TrainingDivergedError(
                f"{self.name}: the loss is {float(losses[step])} at epoch {epoch + 1}, step {step + 1} "
                f"(learning rate {self.rate:.3g}): lower learning_rate or set gradient_clip"
            )


def soft_loss_to(
    loss: Callable[[Tensor, Tensor, Tensor], Tensor], said: Tensor, teacher: Tensor, labels: Tensor, parts: Parts
) -> Tensor:
    """Return the loss to one teacher [B, C], or its mean over teachers kept apart [B, K, C].

    Of those each has its own head in `said` [B, K, C], or all have the one of [B, C] (Zuchniak 2023, 2302.07215:
    mimic_all and loss_avg).
    """
    if teacher.ndim == 2:
        return soft_loss_by_block(loss, mean_of_heads(said), teacher, labels, parts)
    teachers = teacher.unbind(1)
    heads = said.unbind(1) if said.ndim == 3 else [said] * len(teachers)
    each = [soft_loss_by_block(loss, q, p, labels, parts) for q, p in zip(heads, teachers, strict=True)]
    return torch.stack(each).mean()
