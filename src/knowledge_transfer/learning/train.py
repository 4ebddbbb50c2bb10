"""From a recipe to a checkpoint: the work of every training node, with or without a teacher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor

from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.config import Distillation, DistillationConfig
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import GENERATOR, Network, build, weights_sha256
from knowledge_transfer.learning.models.weights import Pretrained
from knowledge_transfer.learning.training.loop import FitState, fit
from knowledge_transfer.learning.training.mutual import fit_mutually
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions


class Normalisation(Config):
    """Means and deviations of the student set's channels, pixels scaled to [0, 1]."""

    mean: tuple[float, ...] = Field(min_length=1)
    deviation: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _are_as_many(self) -> Normalisation:
        if len(self.mean) != len(self.deviation):
            raise ValueError(f"{len(self.mean)} means, but {len(self.deviation)} deviations: one of each a channel")
        return self


@dataclass(frozen=True, eq=False)
class FitData:
    """What a model learns from; `image_weights` float [N], of mean 1, multiply each image's loss (none: all alike)."""

    images: ImageSet
    validation: ImageSet
    normalisation: Normalisation
    image_weights: Tensor | None = None


@dataclass(frozen=True)
class LearnOptions:
    """Where and with which random numbers a model learns.

    `seed` draws fresh weights, the order of the images and dropout. `view_seed` (none: `seed`) draws the views of a
    model without a teacher. `replicas` devices train the model together, to the same weights up to rounding. With
    `freeze` the last layer learns alone.
    """

    seed: int
    device: torch.device
    view_seed: int | None = None
    replicas: int = 1
    freeze: bool = False


def learn(
    name: str,
    architecture: Architecture,
    data: FitData,
    recipe: Recipe,
    options: LearnOptions,
    *,
    round_: int = 0,
    start: Checkpoint | Pretrained | None = None,
    distillation: Distillation | None = None,
) -> Checkpoint:
    """Return the checkpoint of `name` after `round_`, with its learning curve.

    The model starts with the weights of `start`, without the last layer of pretrained ones (none: fresh weights). It
    learns from labels, with `distillation` also from soft labels. Fits in threads of one process wait for each other.
    Raises ValueError when `start` has another architecture, classes or domain; when soft labels, teachers and heads do
    not match; and when there are too few devices or images in a batch for the replicas.
    """
    recipe = recipe.for_images(len(data.images), has_soft_labels=distillation is not None)
    objective = None if distillation is None else distillation.objective(data.images, architecture.heads)
    with GENERATOR:
        network = network_of(architecture, data.images, data.normalisation, options.seed, start, options.freeze)
        given = FitOptions(name, options.seed, options.device, objective, options.view_seed, data.image_weights)
        if options.replicas == 1:
            fitted = fit(network, data.images, recipe, given, data.validation)
        else:
            from knowledge_transfer.learning.distributed import launcher  # which one device does not need

            fitted = launcher.fit(network, data.images, recipe, given, data.validation, options.replicas)
    lineage = Lineage(round_, start, distillation)
    return record(name, network, architecture, data, recipe, fitted, options.seed, lineage)


def learn_mutually(
    names: Sequence[str],
    architectures: Sequence[Architecture],
    data: Sequence[FitData],
    recipes: Sequence[Recipe],
    options: Sequence[LearnOptions],
    *,
    round_: int,
    starts: Sequence[Checkpoint | Pretrained | None],
) -> list[Checkpoint]:
    """Return the checkpoint of each network after mutual learning on the same images, with its learning curve.

    Raises what `learn` raises, and ValueError for recipes that differ in epochs, batch size, views or augmentation.
    """
    images, validation = data[0].images, data[0].validation
    recipes = [recipe.for_images(len(images), has_soft_labels=False) for recipe in recipes]
    with GENERATOR:
        networks = [
            network_of(architecture, images, own.normalisation, each.seed, start, each.freeze)
            for architecture, own, each, start in zip(architectures, data, options, starts, strict=True)
        ]
        given = [
            FitOptions(name, each.seed, each.device, view_seed=each.view_seed)
            for name, each in zip(names, options, strict=True)
        ]
        fits = fit_mutually(networks, images, recipes, given, validation)
    described = zip(names, networks, architectures, data, recipes, fits, options, starts, strict=True)
    return [
        record(name, network, architecture, own, recipe, fitted, each.seed, Lineage(round_, start))
        for name, network, architecture, own, recipe, fitted, each, start in described
    ]


@dataclass(frozen=True, eq=False)
class Lineage:
    """What a model descends from: its round, the weights that it started with, and its teachers."""

    round_: int = 0
    start: Checkpoint | Pretrained | None = None
    distillation: Distillation | None = None

    @property
    def parents(self) -> dict[str, str]:
        """The hash of the weights of each parent, by key."""
        start = self.start.facts if isinstance(self.start, Checkpoint) else self.start
        parents = {} if start is None else {start.origin if isinstance(start, Pretrained) else start.key: start.sha256}
        return parents | ({} if self.distillation is None else self.distillation.soft_labels.facts.teachers)


def record(
    name: str,
    network: Network,
    architecture: Architecture,
    data: FitData,
    recipe: Recipe,
    fitted: FitState,
    seed: int,
    lineage: Lineage,
) -> Checkpoint:
    """Return the checkpoint of a fit, with all facts of its origin."""
    images, distillation, collapse = data.images, lineage.distillation, fitted.kept.collapse
    steps = recipe.epochs * max(1, len(images) // recipe.batch_size)
    facts = Facts(
        name=name,
        round=lineage.round_,
        domain=images.domain,
        architecture=architecture,
        class_names=images.class_names,
        channels=images.images.shape[1],
        image_size=images.images.shape[2],
        mean=data.normalisation.mean,
        deviation=data.normalisation.deviation,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        seed=seed,
        images_sha256=images.sha256,
        recipe=recipe.model_dump(mode="json"),
        distillation=None if distillation is None else distillation.config.model_dump(mode="json"),
        parents=lineage.parents,
        metrics=fitted.metrics,
        warning=collapse and f"{collapse}; it learned from {len(images):,} images in {steps:,} steps",
        sha256=weights_sha256(fitted.state),
    )
    return Checkpoint(facts, fitted.state, tuple(asdict(row) for row in fitted.history))


def network_of(
    architecture: Architecture,
    images: ImageSet,
    normalisation: Normalisation,
    seed: int,
    start: Checkpoint | Pretrained | None = None,
    freeze: bool = False,
) -> Network:
    """Return the network that a fit starts with, its weights drawn by `seed` or those of `start`, if they fit."""
    if isinstance(start, Checkpoint):
        start.require(architecture, images)
        network = start.build()
    else:
        network = _drawn(architecture, images, normalisation, seed)
    if isinstance(start, Pretrained):
        start.put_into(network)
    if freeze:
        network.freeze()
    return network


def _drawn(architecture: Architecture, images: ImageSet, normalisation: Normalisation, seed: int) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(
            architecture,
            classes=len(images.class_names),
            channels=images.images.shape[1],
            image_size=images.images.shape[2],
            mean=normalisation.mean,
            deviation=normalisation.deviation,
        )


def transfer_through(transfer_images: ImageSet, student_images: ImageSet, distillation: DistillationConfig) -> ImageSet:
    """Return the images of a distillation: the transfer set, with `student_set` joined by the student set."""
    return transfer_images.join(student_images) if distillation.student_set else transfer_images


def teachers_hashes(teachers: Iterable[Checkpoint]) -> dict[str, str]:
    """Return the weights' hash of each teacher by key, without reading weights."""
    return {teacher.facts.key: teacher.facts.sha256 for teacher in teachers}
