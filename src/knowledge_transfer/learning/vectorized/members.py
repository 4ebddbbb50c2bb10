"""Many members of one architecture: stacked where that is faster, else one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import (
    GENERATOR,
    Normalisation,
    distillation_objective,
    learn,
    network_of,
    record,
)
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.events import EpochEnded, Event, FitStarted
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions
from knowledge_transfer.learning.vectorized.network import is_faster
from knowledge_transfer.learning.vectorized.trainer import allows_stacking, fit_stacked


def learn_members(
    group: str,
    seeds: Mapping[str, int],
    architecture: Architecture,
    images: ImageSet,
    recipe: Recipe,
    *,
    device: torch.device,
    stack: bool | None = None,
    **how: Any,
) -> list[Checkpoint]:
    """Return the checkpoint of each member that `seeds` names, in that order.

    They are what `learn`, which takes `how`, makes of each with its seed: up to rounding where they are stacked, as
    they are where `stack` says so (none: where the recipe allows it and it `is_faster`). Listeners hear of `group` as
    of one fit: stacked, of the members' means; else of the epochs of one member after another.
    """
    if stack is None:
        stack = allows_stacking(recipe) and is_faster(architecture, images, len(seeds), device)
    if stack:
        return _stacked(group, seeds, architecture, images, recipe, device=device, **how)
    learnt: list[Checkpoint] = []
    began = time.perf_counter()
    for name, seed in seeds.items():
        with events.reported_as(in_succession(group, len(learnt), len(seeds), began)):
            learnt.append(learn(name, architecture, images, recipe, seed=seed, device=device, **how))
    return learnt


def in_succession(group: str, position: int, count: int, began: float) -> Callable[[Event], Event | None]:
    """Return what makes the events of fit number `position` of `count` equal ones those of one long fit of `group`.

    `began` is when the first of them did, by `time.perf_counter`.
    """

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
    seeds: Mapping[str, int],
    architecture: Architecture,
    images: ImageSet,
    recipe: Recipe,
    *,
    device: torch.device,
    validation: ImageSet,
    normalisation: Normalisation,
    soft_labels: SoftLabels | None = None,
    distillation: DistillationConfig | None = None,
    view_seed: int | None = None,
) -> list[Checkpoint]:
    is_taught = soft_labels is not None and distillation is not None
    objective = distillation_objective(soft_labels, images, distillation, None) if is_taught else None  # type: ignore[arg-type]
    with GENERATOR:
        networks = [network_of(architecture, images, normalisation, seed) for seed in seeds.values()]
        parameters = sum(parameter.numel() for parameter in networks[0].parameters())
        events.emit(FitStarted(group, recipe.epochs, len(images), parameters * len(seeds)))
        fitted = fit_stacked(
            networks,
            images,
            recipe,
            [FitOptions(name, seed, device, objective, view_seed) for name, seed in seeds.items()],
            validation=validation,
            report=lambda rows: events.emit(_mean(group, rows)),
        )
    parents = {} if soft_labels is None else soft_labels.facts.teachers
    return [
        record(
            name,
            architecture,
            images,
            recipe,
            each,
            normalisation=normalisation,
            seed=seed,
            parameters=parameters,
            distillation=distillation,
            parents=parents,
        )
        for (name, seed), each in zip(seeds.items(), fitted, strict=True)
    ]


def _mean(group: str, rows: Sequence[EpochEnded]) -> EpochEnded:
    """Return the epoch of a group: means of its members' losses and accuracies."""
    measured = ("loss", "accuracy", "validation_loss", "validation_accuracy")
    means = {name: sum(getattr(row, name) for row in rows) / len(rows) for name in measured}
    return replace(rows[0], model=group, **means)
