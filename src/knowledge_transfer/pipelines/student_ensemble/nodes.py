"""Nodes that train and ask the tiny students."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pandas as pd
from torch import Tensor

from knowledge_transfer.experiment.config import seed_for
from knowledge_transfer.experiment.study_nodes import VIEWS, ask, label_images
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.objective import Distillation
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.boosting import boost
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn, teachers_hashes
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.vectorized.members import in_succession, learn_members
from knowledge_transfer.pipelines.student_ensemble.settings import Grid, Seat


def label_for_all(images: ImageSet, grid: Grid, seed: int, device: str, teacher: Checkpoint) -> SoftLabels:
    """Return what the teacher says about every view that the members, and the single student, will see."""
    return label_images(images, grid.recipe, seed, device, teacher)


def train_members(
    group: str,
    seats: Sequence[Seat],
    architecture: Architecture,
    distillation: DistillationConfig | None,
    images: ImageSet,
    validation: ImageSet,
    normalisation: dict[str, Any],
    grid: Grid,
    seed: int,
    device: str,
    soft_labels: SoftLabels | None = None,
    **teachers: Checkpoint,
) -> list[Checkpoint]:
    """Return the members of a group, trained from fresh weights, with their learning curves.

    They learn from labels, or as `distillation` says from `soft_labels` too. Raises ValueError for soft labels of other
    teachers, images or views than these.
    """
    if soft_labels is not None:
        _require(soft_labels, images, grid.recipe, seed, teachers)
    where, view_seed = resolve_device(device), seed_for(seed, VIEWS)
    return learn_members(
        group,
        {seat.member_of(group): LearnOptions(seed_for(seed, seat.key), where, view_seed) for seat in seats},
        architecture,
        FitData(images, validation, Normalisation(**normalisation)),
        grid.recipe,
        distillation=Distillation(soft_labels, distillation) if soft_labels and distillation else None,
    )


def boost_members(
    group: str,
    seats: Sequence[Seat],
    architecture: Architecture,
    distillation: DistillationConfig,
    images: ImageSet,
    validation: ImageSet,
    normalisation: dict[str, Any],
    soft_labels: SoftLabels,
    grid: Grid,
    seed: int,
    device: str,
    **teachers: Checkpoint,
) -> tuple[list[Checkpoint], pd.DataFrame]:
    """Return members taught one after another, images weighted by what those before got wrong; SAMME's table.

    The table has for each its weighted error on the training images, and its weight. The first is the member that
    `train_members` makes of the same seat, up to rounding.
    """
    _require(soft_labels, images, grid.recipe, seed, teachers)
    where = resolve_device(device)
    seeds = {seat.member_of(group): seed_for(seed, seat.key) for seat in seats}
    began = time.perf_counter()
    trained: dict[str, str] = {}

    def train(number: int, weights: Tensor | None) -> Checkpoint:
        name = list(seeds)[number]
        with events.reported_as(in_succession(group, number, len(seeds), began)):
            checkpoint = learn(
                name,
                architecture,
                FitData(images, validation, Normalisation(**normalisation), image_weights=weights),
                grid.recipe,
                LearnOptions(seed=seeds[name], device=where),
                distillation=Distillation(soft_labels, distillation),
            )
        # Their mistakes are in the image weights: it descends from those before it, too.
        facts = checkpoint.facts.model_copy(update={"parents": {**checkpoint.facts.parents, **trained}})
        trained[facts.key] = facts.sha256
        return replace(checkpoint, facts=facts)

    def answer(checkpoint: Checkpoint) -> Tensor:
        return predict(checkpoint.build(), images, device=where).argmax(1)

    boosted = boost(len(seats), images.labels, len(images.class_names), train, answer)
    rounds = {"model": list(seeds), "error": boosted.errors, "weight": boosted.weights}
    return boosted.members, pd.DataFrame(rounds)


def ask_all(
    images: ImageSet, training_images: ImageSet, device: str, *models: Checkpoint | list[Checkpoint]
) -> SoftLabels:
    """Return what every model, and every member of every group, says about the images as they are."""
    flat = [each for model in models for each in (model if isinstance(model, list) else [model])]
    return ask(images, training_images, device, *flat)


def ask_chosen(
    published: str, images: ImageSet, training_images: ImageSet, device: str, sweep: pd.DataFrame, **groups: Any
) -> SoftLabels:
    """Return what is said by the members taught in the way that is best on validation, on labels, and as published.

    No other point of the sweep is asked about the test set.
    """
    wanted = {best_point(sweep), published, "alpha0"}
    chosen = [checkpoints for point, checkpoints in groups.items() if point in wanted]
    return ask_all(images, training_images, device, *chosen)


def best_point(sweep: pd.DataFrame) -> str:
    """Return the point of highest mean accuracy on validation; of equals the first."""
    return str(sweep.groupby("point", sort=False)["validation"].mean().idxmax())


def list_sweep(points: Mapping[str, DistillationConfig], **groups: list[Checkpoint]) -> pd.DataFrame:
    """Return a row for each point of the sweep and each seed: how it was taught, and its accuracy on validation."""
    rows = []
    for point, checkpoints in groups.items():
        how = points[point]
        rows += [
            {
                "point": point,
                "loss": how.loss,
                "temperature": how.temperature,
                "alpha": how.alpha,
                "hard_weight": 1 - how.alpha,
                "seed": repeat,
                "model": checkpoint.facts.name,
                "validation": checkpoint.facts.metrics["validation_accuracy"],
            }
            for repeat, checkpoint in enumerate(checkpoints)
        ]
    return pd.DataFrame(rows)


def list_members(arms: Mapping[str, str], **models: Checkpoint | list[Checkpoint]) -> pd.DataFrame:
    """Return the facts of every model, a row each: its arm, shape, seed, parameters, accuracy on validation, hash.

    `arms` by the name under which `models` are given. `counted` is the number of parameters as the source counts them.
    """
    rows = []
    for name, given in models.items():
        for checkpoint in given if isinstance(given, list) else [given]:
            facts = checkpoint.facts
            _, _, repeat = facts.name.rpartition("_seed") if "_seed" in facts.name else ("", "", "0")
            rows.append(
                {
                    "model": facts.name,
                    "arm": arms[name],
                    "architecture": str(facts.architecture),
                    "seed": int(repeat.partition("_")[0]),
                    "parameters": facts.parameters,
                    "counted": counted_as_published(facts.architecture, facts.image_size),
                    "validation": facts.metrics["validation_accuracy"],
                    "sha256": facts.sha256,
                }
            )
    return pd.DataFrame(rows)


def counted_as_published(architecture: Architecture, image_size: int) -> int | None:
    """Return the parameters of a `cnn` as the source counts them; none of other networks.

    It leaves out the input channels of convolutions, all biases and the output layer: of its student on images of 28
    pixels, 2 * 25 * 8 and 7 * 7 * 8 * 256, together 100,752.
    """
    layers = architecture.layers
    if layers is None:
        return None
    filters = sum(layers.kernel**2 * width for block in layers.convolutions for width in block)
    sizes = (layers.convolutions[-1][-1] * (image_size // 2 ** len(layers.convolutions)) ** 2, *layers.hidden)
    return filters + sum(before * after for before, after in pairwise(sizes))


def _require(
    soft_labels: SoftLabels, images: ImageSet, recipe: Recipe, seed: int, teachers: dict[str, Checkpoint]
) -> None:
    soft_labels.require(
        images,
        teachers_hashes(teachers.values()),
        views=recipe.view_count,
        view_seed=seed_for(seed, VIEWS),
        augmentation=recipe.augmentation,
    )
