"""One fit, epoch by epoch."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.models.network import Network
from knowledge_transfer.learning.models.weights import cpu_state
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.resume import Snapshots, identity
from knowledge_transfer.learning.training.sharding import ALONE, Share
from knowledge_transfer.learning.training.trainer import DistillationObjective, Trainer


@dataclass(frozen=True)
class Fitted:
    """The weights that the recipe says to keep, on the CPU, one row per epoch, and the row of the weights kept."""

    state: dict[str, Tensor]
    history: list[events.EpochEnded]
    kept: events.EpochEnded

    @property
    def metrics(self) -> dict[str, float]:
        """Losses and accuracies of the epoch whose weights these are."""
        return {
            "loss": self.kept.loss,
            "accuracy": self.kept.accuracy,
            "validation_loss": self.kept.validation_loss,
            "validation_accuracy": self.kept.validation_accuracy,
        }


def fit(
    network: Network,
    images: ImageSet,
    recipe: Recipe,
    *,
    validation: ImageSet,
    seed: int,
    device: torch.device,
    name: str,
    objective: DistillationObjective | None = None,
    view_seed: int | None = None,
    share: Share = ALONE,
    image_weights: Tensor | None = None,
) -> Fitted:
    """Train `network` on `images`, with the labels, the objective's soft labels or both.

    `image_weights` float [N] weigh each image's loss (none: all alike); they should have the mean 1. Views follow the
    objective's seed, else `view_seed`, else `seed`. The same seed gives the same bits on one CPU thread.
    Emits a FitStarted event and an EpochEnded after each epoch. Where somebody keeps snapshots (`snapshots.kept_in`), a
    fit that was cut short goes on from the last one after a FitResumed event, and ends with the same bits. Raises
    TrainingDivergedError at the end of the epoch in which the loss is no finite number, naming the step. With a `share`
    the other ranks have to `follow`.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    events.emit(events.FitStarted(name, recipe.epochs, len(images), parameters))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        learner = Trainer(network, images, recipe, seed, device, name, objective, view_seed, share, image_weights)
        snapshots = Snapshots(lambda: identity(learner, images, validation))
        course = _resume(learner, snapshots)
        began, first = time.perf_counter(), len(course.history)
        for epoch in range(first, recipe.epochs):
            loss, accuracy, speed = learner.epoch(epoch)
            logits = predict(learner.answering, validation, device=device, precision=recipe.precision)
            elapsed = time.perf_counter() - began
            row = events.EpochEnded(
                model=name,
                epoch=epoch + 1,
                epochs=recipe.epochs,
                loss=loss,
                accuracy=accuracy,
                validation_loss=float(F.cross_entropy(logits, validation.labels)),
                validation_accuracy=float((logits.argmax(1) == validation.labels).float().mean()),
                learning_rate=learner.rate,
                images_per_second=speed,
                seconds_left=elapsed / (epoch + 1 - first) * (recipe.epochs - epoch - 1),
            )
            events.emit(row)
            course.history.append(row)
            is_last = epoch + 1 == recipe.epochs
            if row.validation_accuracy > course.best if recipe.keep == "best" else is_last:
                course.best, course.kept, course.state = row.validation_accuracy, epoch, cpu_state(learner.answering)
            if not is_last:
                snapshots.offer(lambda: {"learner": learner.state(), "course": course.plain()})
    return Fitted(course.state, course.history, course.history[course.kept])


def follow(
    network: Network,
    images: ImageSet,
    recipe: Recipe,
    *,
    validation: ImageSet,
    seed: int,
    device: torch.device,
    name: str,
    objective: DistillationObjective | None = None,
    view_seed: int | None = None,
    share: Share,
    image_weights: Tensor | None = None,
) -> None:
    """Take `share`'s part in every step of the `fit` of rank 0, which alone validates, tells and keeps snapshots."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        learner = Trainer(network, images, recipe, seed, device, name, objective, view_seed, share, image_weights)
        # Nobody is in the middle of writing: rank 0 ends no epoch without this one.
        course = _resume(learner, Snapshots(lambda: identity(learner, images, validation)))
        for epoch in range(len(course.history), recipe.epochs):
            learner.epoch(epoch)


@dataclass
class _Course:
    """How far a fit is: a row per epoch, and of the one to keep so far its place, accuracy and weights."""

    history: list[events.EpochEnded]
    kept: int
    best: float
    state: dict[str, Tensor]

    def plain(self) -> dict[str, Any]:
        """Return the course with rows as dictionaries, which a file can hold without naming a class."""
        return {**vars(self), "history": [asdict(row) for row in self.history]}


def _resume(learner: Trainer, snapshots: Snapshots) -> _Course:
    """Return the course of a fit, at its start or where its last snapshot was taken, and put `learner` there."""
    snapshot = snapshots.read()
    if snapshot is None:
        return _Course([], -1, -1.0, {})
    learner.restore(snapshot["learner"])
    course = _Course(**snapshot["course"])
    course.history = [events.EpochEnded(**row) for row in snapshot["course"]["history"]]
    events.emit(events.FitResumed(learner.name, len(course.history)))
    return course
