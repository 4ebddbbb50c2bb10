"""Nodes of the study student_ensemble that train the tiny students, predict with them and list them."""

import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pandas as pd
from torch import Tensor

from knowledge_transfer.experiment.config import seed_for
from knowledge_transfer.experiment.study_nodes import VIEWS, distillation_of, predict_images
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.boosting import boost
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.vectorized.members import in_succession, learn_members
from knowledge_transfer.pipelines.student_ensemble.roster import Group, Role
from knowledge_transfer.pipelines.student_ensemble.settings import Grid


def train_members(
    group: Group,
    images: ImageSet,
    validation: ImageSet,
    normalisation: dict[str, Any],
    grid: Grid,
    seed: int,
    device: str,
    *,
    soft_labels: SoftLabels | None = None,
    **teachers: Checkpoint,
) -> list[Checkpoint]:
    """Return the trained members of the group. Raises ValueError for soft labels of other teachers, images or views."""
    where, view_seed = resolve_device(device), seed_for(seed, VIEWS)
    return learn_members(
        group.name,
        {name: LearnOptions(seed_for(seed, member.key), where, view_seed) for name, member in group.members.items()},
        group.architecture,
        FitData(images, validation, Normalisation(**normalisation)),
        grid.recipe,
        distillation=distillation_of(group.distillation, soft_labels, images, teachers, grid.recipe, seed),
    )


def boost_members(
    group: Group,
    images: ImageSet,
    validation: ImageSet,
    normalisation: dict[str, Any],
    grid: Grid,
    seed: int,
    device: str,
    *,
    soft_labels: SoftLabels,
    **teachers: Checkpoint,
) -> tuple[list[Checkpoint], pd.DataFrame]:
    """Return members trained in sequence on reweighted images, and the weighted error and SAMME weight of each.

    The first equals that of `train_members` with the same seed, up to rounding. Raises ValueError as that does.
    """
    taught = distillation_of(group.distillation, soft_labels, images, teachers, grid.recipe, seed)
    where, began = resolve_device(device), time.perf_counter()
    options = [(name, LearnOptions(seed_for(seed, member.key), where)) for name, member in group.members.items()]
    trained: dict[str, str] = {}

    def train(number: int, weights: Tensor | None) -> Checkpoint:
        name, own = options[number]
        data = FitData(images, validation, Normalisation(**normalisation), image_weights=weights)
        with events.reported_as(in_succession(group.name, number, len(options), began)):
            checkpoint = learn(name, group.architecture, data, grid.recipe, own, distillation=taught)
        # The image weights come from the members before: it descends from these, too.
        facts = checkpoint.facts.model_copy(update={"parents": {**checkpoint.facts.parents, **trained}})
        trained[facts.key] = facts.sha256
        return replace(checkpoint, facts=facts)

    def predicted(checkpoint: Checkpoint) -> Tensor:
        return predict(checkpoint.build(), images, device=where).argmax(1)

    boosted = boost(len(options), images.labels, len(images.class_names), train, predicted)
    rounds = {"model": list(group.members), "error": boosted.errors, "weight": boosted.weights}
    return boosted.members, pd.DataFrame(rounds)


def predict_chosen(
    as_set: str,
    images: ImageSet,
    training_images: ImageSet,
    device: str,
    sweep: pd.DataFrame,
    **groups: list[Checkpoint],
) -> SoftLabels:
    """Return the test logits of three points alone: best on validation, the study's own `as_set`, labels alone."""
    chosen = [checkpoints for point, checkpoints in groups.items() if point in chosen_points(sweep, as_set)]
    return predict_images({}, images, training_images, 0, device, *chosen)


def chosen_points(sweep: pd.DataFrame, as_set: str) -> set[str]:
    """Return the points that see the test set: the best, the study's own, labels alone."""
    return {best_point(sweep), as_set, "alpha0"}


def best_point(sweep: pd.DataFrame) -> str:
    """Return the point of highest mean accuracy on validation; of equals the first."""
    return str(sweep.groupby("point", sort=False)["validation"].mean().idxmax())


def list_sweep(points: Mapping[str, DistillationConfig], **groups: list[Checkpoint]) -> pd.DataFrame:
    """Return a row for each point of the sweep and each seed: its distillation, and its accuracy on validation."""
    return pd.DataFrame(
        {
            "point": point,
            **{name: getattr(points[point], name) for name in ("loss", "temperature", "alpha")},
            "hard_weight": 1 - points[point].alpha,
            "seed": repeat,
            "model": checkpoint.facts.name,
            "validation": checkpoint.facts.metrics["validation_accuracy"],
        }
        for point, checkpoints in groups.items()
        for repeat, checkpoint in enumerate(checkpoints)
    )


def list_members(roles: Mapping[str, Role], **models: Checkpoint | list[Checkpoint]) -> pd.DataFrame:
    """Return the facts of every model, a row each; `counted` is the number of parameters as the source counts them."""
    every = [each.facts for given in models.values() for each in (given if isinstance(given, list) else [given])]
    return pd.DataFrame(
        {
            "model": facts.name,
            "arm": roles[facts.name].arm,
            "architecture": str(facts.architecture),
            "seed": roles[facts.name].seed,
            "parameters": facts.parameters,
            "counted": counted_as_published(facts.architecture, facts.image_size),
            "validation": facts.metrics["validation_accuracy"],
            "sha256": facts.sha256,
        }
        for facts in every
    )


def counted_as_published(architecture: Architecture, image_size: int) -> int | None:
    """Return the parameters of a `cnn` as the source counts them; none of other networks.

    Without input channels of convolutions, biases and the output layer: its student on 28 pixels has 2 * 25 * 8 + 7 * 7
    * 8 * 256 = 100,752.
    """
    layers = architecture.layers
    if layers is None:
        return None
    filters = sum(layers.kernel**2 * width for block in layers.convolutions for width in block)
    sizes = (layers.convolutions[-1][-1] * (image_size // 2 ** len(layers.convolutions)) ** 2, *layers.hidden)
    return filters + sum(before * after for before, after in pairwise(sizes))
