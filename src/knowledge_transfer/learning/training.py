"""One fit, epoch by epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning import events
from knowledge_transfer.learning.checkpoint import cpu_state
from knowledge_transfer.learning.evaluation import predict
from knowledge_transfer.learning.images import ImageSet
from knowledge_transfer.learning.models import Network
from knowledge_transfer.learning.recipe import Recipe
from knowledge_transfer.learning.steps import Learner, Lesson


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
    lesson: Lesson | None = None,
    view_seed: int | None = None,
) -> Fitted:
    """Train `network` on `images`, with the labels, the lesson's soft labels or both.

    Views follow the lesson's seed, else `view_seed`, else `seed`. The same seed gives the same bits on one CPU thread.
    Emits a FitStarted event and an EpochEnded after each epoch. Raises TrainingDivergedError at the end of the epoch in
    which the loss is no finite number, naming the step.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    events.emit(events.FitStarted(name, recipe.epochs, len(images), parameters))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        learner = Learner(network, images, recipe, seed, device, name, lesson, view_seed)
        history, best, state = [], -1.0, {}
        began = time.perf_counter()
        for epoch in range(recipe.epochs):
            loss, accuracy, speed = learner.epoch(epoch)
            logits = predict(learner.answering, validation, device=device, precision=recipe.precision)
            validation_accuracy = float((logits.argmax(1) == validation.labels).float().mean())
            elapsed = time.perf_counter() - began
            row = events.EpochEnded(
                model=name,
                epoch=epoch + 1,
                epochs=recipe.epochs,
                loss=loss,
                accuracy=accuracy,
                validation_loss=float(F.cross_entropy(logits, validation.labels)),
                validation_accuracy=validation_accuracy,
                learning_rate=learner.rate,
                images_per_second=speed,
                seconds_left=elapsed / (epoch + 1) * (recipe.epochs - epoch - 1),
            )
            events.emit(row)
            history.append(row)
            if validation_accuracy > best if recipe.keep == "best" else epoch == recipe.epochs - 1:
                best, state, kept = validation_accuracy, cpu_state(learner.answering), row
    return Fitted(state, history, kept)
