"""One fit, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.evaluation.collapse import collapse
from knowledge_transfer.learning.models.network import Network
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.events import EpochEnded
from knowledge_transfer.learning.training.optimizer import Updater
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.resume import Snapshots, identity
from knowledge_transfer.learning.training.sharding import WHOLE, Shard
from knowledge_transfer.learning.training.trainer import EpochResult, FitOptions, Trainer

MEASURED = ("loss", "accuracy", "validation_loss", "validation_accuracy")


@dataclass
class FitState:
    """The fit of a network so far: a row per epoch; position, accuracy and weights of the epoch that is kept.

    `state` is a state dict on the CPU; it is the result once the last epoch was added.
    """

    history: list[EpochEnded] = field(default_factory=list)
    kept_epoch: int = -1
    best: float = -1.0
    state: dict[str, Tensor] = field(default_factory=dict)

    def add(self, row: EpochEnded, keep: str) -> bool:
        """Add the row of an epoch; return whether the recipe's `keep` chooses its weights."""
        self.history.append(row)
        is_kept = row.validation_accuracy > self.best if keep == "best" else row.epoch == row.epochs
        if is_kept:
            self.kept_epoch, self.best = len(self.history) - 1, row.validation_accuracy
        return is_kept

    @property
    def kept(self) -> EpochEnded:
        """The row of the epoch that is kept."""
        return self.history[self.kept_epoch]

    @property
    def metrics(self) -> dict[str, float]:
        """Losses and accuracies of the epoch that is kept."""
        return {name: getattr(self.kept, name) for name in MEASURED}

    def plain(self) -> dict[str, Any]:
        """Return this as tensors and plain values."""
        return {**vars(self), "history": [asdict(row) for row in self.history]}

    @staticmethod
    def load(plain: dict[str, Any]) -> FitState:
        """Return the state that `plain()` described."""
        return FitState(**{**plain, "history": [EpochEnded(**row) for row in plain["history"]]})


class EpochTrainer(Protocol):
    """One or several networks that are trained together; lists and first dimensions are by network."""

    recipe: Recipe
    names: list[str]
    updater: Updater

    def epoch(self, epoch: int) -> EpochResult: ...  # noqa: D102

    def predict(self, images: ImageSet) -> Tensor: ...  # noqa: D102

    def weights(self) -> list[dict[str, Tensor]]: ...  # noqa: D102


def train_epochs(
    trainer: EpochTrainer,
    validation: ImageSet,
    states: Sequence[FitState],
    *,
    report: Callable[[list[EpochEnded]], None],
    save: Callable[[], None] = lambda: None,
) -> None:
    """Train until the last epoch of the recipe and add each epoch to the `states`, one for each network.

    `report` receives the rows of an epoch before they are added; `save` is called after every epoch but the last.
    """
    epochs, began, first = trainer.recipe.epochs, time.perf_counter(), len(states[0].history)
    for epoch in range(first, epochs):
        result = trainer.epoch(epoch)
        logits = trainer.predict(validation)
        predicted = logits.argmax(2)
        left = (time.perf_counter() - began) / (epoch + 1 - first) * (epochs - epoch - 1)
        rows = [
            EpochEnded(
                model=name,
                epoch=epoch + 1,
                epochs=epochs,
                loss=result.losses[network],
                accuracy=result.accuracies[network],
                validation_loss=float(F.cross_entropy(logits[network], validation.labels)),
                validation_accuracy=float((predicted[network] == validation.labels).float().mean()),
                learning_rate=trainer.updater.rate,
                images_per_second=result.images_per_second,
                seconds_left=left,
                collapse=collapse(predicted[network], validation.labels),
            )
            for network, name in enumerate(trainer.names)
        ]
        report(rows)
        is_kept = [state.add(row, trainer.recipe.keep) for state, row in zip(states, rows, strict=True)]
        if any(is_kept):
            for state, weights, keep in zip(states, trainer.weights(), is_kept, strict=True):
                state.state = weights if keep else state.state
        if epoch + 1 < epochs:
            save()


def fit(
    network: Network, images: ImageSet, recipe: Recipe, options: FitOptions, validation: ImageSet, shard: Shard = WHOLE
) -> FitState:
    """Train `network` on `images`, with the labels, the soft labels of the options' `distillation`, or both.

    The same seed gives the same bits on one CPU thread. Emits FitStarted, and EpochEnded after each epoch. Inside
    `resume.snapshot_to` an interrupted fit continues from its last snapshot after FitResumed, and ends with the same
    bits. Every rank of a `shard` must call this; rank 0 alone validates, reports and saves. Raises
    TrainingDivergedError, naming the step, at the end of an epoch whose loss is not finite.
    """
    parameters = sum(parameter.numel() for parameter in network.parameters())
    events.emit(events.FitStarted(options.name, recipe.epochs, len(images), parameters))
    with own_generator(options.device):
        trainer = Trainer(network, images, recipe, options, shard)
        snapshots = Snapshots(lambda: identity(trainer, images, validation))
        # The snapshot is complete on every rank: rank 0 ends no epoch without the others.
        state = _resume(trainer, snapshots)
        if shard.rank:
            for epoch in range(len(state.history), recipe.epochs):
                trainer.epoch(epoch)
            return state
        train_epochs(
            trainer,
            validation,
            [state],
            report=lambda rows: events.emit(rows[0]),
            save=lambda: snapshots.maybe_save(lambda: {"trainer": trainer.state(), "fit": state.plain()}),
        )
    return state


@contextmanager
def own_generator(device: torch.device) -> Iterator[None]:
    """Leave torch's global random generators as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _resume(trainer: Trainer, snapshots: Snapshots) -> FitState:
    """Return the state of a fit at its start or its last snapshot, which is loaded into `trainer`."""
    snapshot = snapshots.read()
    if snapshot is None:
        return FitState()
    trainer.load_state(snapshot["trainer"])
    state = FitState.load(snapshot["fit"])
    events.emit(events.FitResumed(trainer.options.name, len(state.history)))
    return state
