"""Mutual learning: networks learn from labels and from each other's present predictions (Zhang 2018, 1706.00384)."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from knowledge_transfer.learning.data.domains import DomainSlices
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.models.network import Network, mean_of_heads
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.loop import FitState, own_generator, train_epochs
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import EpochResult, FitOptions, Trainer, require_finite, run_steps

_WHOLE: DomainSlices = ((slice(None), slice(None)),)


def fit_mutually(
    networks: Sequence[Network],
    images: ImageSet,
    recipes: Sequence[Recipe],
    options: Sequence[FitOptions],
    validation: ImageSet,
) -> list[FitState]:
    """Return the fits of `networks` trained together, a step of each on every batch.

    All see the batches and views of the first options. The recipes agree in epochs, batch size, views and augmentation.
    Raises ValueError where they do not, for fewer than two networks, and for a mix of domains.
    """
    same = {(each.epochs, each.batch_size, each.views, each.augmentation.model_dump_json()) for each in recipes}
    if len(networks) < 2 or len(same) > 1 or len(images.blocks) > 1:
        raise ValueError(
            "mutual learning is for two networks or more of one domain, whose recipes have the same epochs, batch "
            "size, views and augmentation"
        )
    with own_generator(options[0].device):
        trainers = [
            Trainer(network, images, recipe, each)
            for network, recipe, each in zip(networks, recipes, options, strict=True)
        ]
        for each, network, recipe in zip(options, networks, recipes, strict=True):
            parameters = sum(parameter.numel() for parameter in network.parameters())
            events.emit(events.FitStarted(each.name, recipe.epochs, len(images), parameters))
        states = [FitState() for _ in networks]

        def report(rows: list[events.EpochEnded]) -> None:
            for row in rows:
                events.emit(row)

        train_epochs(_MutualTrainer(trainers), validation, states, report=report)
    return states


def mutual_loss(logits: Tensor, others: Tensor) -> Tensor:
    """Return the mean of KL(p_j || p) over the other networks j and the batch, in nats (Zhang 2018, equations 6 and 7).

    `logits` [B, C] of p, `others` [M - 1, B, C] of the p_j, which get no gradient.
    """
    own, theirs = logits.log_softmax(1), others.detach().log_softmax(2)
    return (theirs.exp() * (theirs - own)).sum(2).mean()


class _MutualTrainer:
    """Trainers of several networks, which take their steps together."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        first = trainers[0]
        self.trainers, self.recipe, self.updater = trainers, first.recipe, first.updater
        self.names = [trainer.options.name for trainer in trainers]

    def epoch(self, epoch: int) -> EpochResult:
        """Take every step of one epoch. Raises TrainingDivergedError for a loss that is not finite."""
        first = self.trainers[0]
        torch.manual_seed((first.options.seed << 20) + epoch)
        for trainer in self.trainers:
            trainer.network.train()
        began = time.perf_counter()
        losses, correct = run_steps(
            self.step(indices, epoch % self.recipe.view_count, number)
            for number, (_, indices) in enumerate(first.batches(), epoch * first.steps_per_epoch)
        )
        seen = first.steps_per_epoch * first.batch_size
        speed = seen / (time.perf_counter() - began)
        require_finite(losses, self.names, epoch, self.updater.rate)
        return EpochResult(losses.mean(0).tolist(), (correct / seen).tolist(), speed)

    def step(self, indices: Tensor, view: int, step: int) -> tuple[Tensor, Tensor]:
        """Take a step of each network on the images at `indices`; return losses and correct counts [M]."""
        predicted, targets = zip(*(each.predict_view(indices, view) for each in self.trainers), strict=True)
        logits = torch.stack([mean_of_heads(each.detach()) for each in predicted])
        losses = []
        for number, (trainer, own, wanted) in enumerate(zip(self.trainers, predicted, targets, strict=True)):
            others = torch.cat([logits[:number], logits[number + 1 :]])
            hard = trainer.objective.loss(own, wanted, indices, view, _WHOLE)
            losses.append(hard + mutual_loss(mean_of_heads(own), others))
            trainer.updater.update(losses[-1], step)
        right = torch.stack([each.argmax(1) for each in targets])
        return torch.stack(losses).detach(), (logits.argmax(2) == right).sum(1)

    def predict(self, images: ImageSet) -> Tensor:
        """Return the logits float32 [M, images, classes] of the networks as they are evaluated, on the CPU."""
        return torch.cat([trainer.predict(images) for trainer in self.trainers])

    def weights(self) -> list[dict[str, Tensor]]:
        """Return a copy of the weights that are evaluated, on the CPU, for each network."""
        return [trainer.weights()[0] for trainer in self.trainers]
