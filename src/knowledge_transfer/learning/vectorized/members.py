"""Many members of one architecture, trained stacked where that is faster, otherwise one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.distillation.config import Distillation
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import GENERATOR
from knowledge_transfer.learning.train import FitData, LearnOptions, Lineage, learn, network_of, record
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.events import EpochEnded, Event, FitStarted
from knowledge_transfer.learning.training.loop import MEASURED
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions
from knowledge_transfer.learning.vectorized.network import is_faster
from knowledge_transfer.learning.vectorized.trainer import allows_stacking, fit_stacked


def learn_members(
    group: str,
    members: Mapping[str, LearnOptions],
    architecture: Architecture,
    data: FitData,
    recipe: Recipe,
    *,
    distillation: Distillation | None = None,
    stack: bool | None = None,
) -> list[Checkpoint]:
    """Return the checkpoint of each of the `members`, given by name, in that order, all on one device.

    Each is the result of `learn` with its options, up to rounding where they are stacked: if `stack` is true (none:
    where the recipe allows it and it `is_faster`). Events report `group` as one fit, stacked members by their means.
    """
    if stack is None:
        device = next(iter(members.values())).device
        stack = allows_stacking(recipe) and is_faster(architecture, data.images, len(members), device)
    if stack:
        return _stacked(group, members, architecture, data, recipe, distillation)
    learnt: list[Checkpoint] = []
    began = time.perf_counter()
    for name, options in members.items():
        with events.reported_as(in_succession(group, len(learnt), len(members), began)):
            learnt.append(learn(name, architecture, data, recipe, options, distillation=distillation))
    return learnt


def in_succession(group: str, position: int, count: int, began: float) -> Callable[[Event], Event | None]:
    """Return a function that reports fit `position` of `count`, the first begun at `began`, as one fit of `group`."""

    def change(event: Event) -> Event | None:
        if isinstance(event, FitStarted):
            started = replace(event, model=group, epochs=event.epochs * count, parameters=event.parameters * count)
            return started if position == 0 else None
        if isinstance(event, EpochEnded):
            epoch, epochs = position * event.epochs + event.epoch, count * event.epochs
            left = (time.perf_counter() - began) / epoch * (epochs - epoch)
            return replace(event, model=group, epoch=epoch, epochs=epochs, seconds_left=left)
        return replace(event, model=group)

    return change


def _stacked(
    group: str,
    members: Mapping[str, LearnOptions],
    architecture: Architecture,
    data: FitData,
    recipe: Recipe,
    distillation: Distillation | None,
) -> list[Checkpoint]:
    images = data.images
    recipe = recipe.for_images(len(images), has_soft_labels=distillation is not None)
    objective = None if distillation is None else distillation.objective(images)
    with GENERATOR:
        networks = [network_of(architecture, images, data.normalisation, each.seed) for each in members.values()]
        parameters = sum(parameter.numel() for network in networks for parameter in network.parameters())
        events.emit(FitStarted(group, recipe.epochs, len(images), parameters))
        fitted = fit_stacked(
            networks,
            images,
            recipe,
            [FitOptions(name, each.seed, each.device, objective, each.view_seed) for name, each in members.items()],
            validation=data.validation,
            report=lambda rows: events.emit(_mean(group, rows)),
        )
    lineage = Lineage(distillation=distillation)
    return [
        record(name, network, architecture, data, recipe, state, options.seed, lineage)
        for (name, options), network, state in zip(members.items(), networks, fitted, strict=True)
    ]


def _mean(group: str, rows: Sequence[EpochEnded]) -> EpochEnded:
    """Return the row of a group: the means of its members' losses and accuracies."""
    means = {name: sum(getattr(row, name) for row in rows) / len(rows) for name in MEASURED}
    return replace(rows[0], model=group, **means)
