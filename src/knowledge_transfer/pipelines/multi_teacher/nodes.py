"""Nodes of the study of many teachers: teachers of a part of the images, learners of many, what both answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from knowledge_transfer.experiment import study_nodes
from knowledge_transfer.experiment.config import seed_for
from knowledge_transfer.experiment.study_config import Model
from knowledge_transfer.experiment.study_nodes import VIEWS, train
from knowledge_transfer.learning.checkpoint import Checkpoint, require_one_lineage
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.domain_mix import thin
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.objective import Distillation
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore, score_members
from knowledge_transfer.learning.evaluation.predict import images_per_second, multiply_adds
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn, teachers_hashes
from knowledge_transfer.pipelines.multi_teacher.settings import Arm


def train_on_part(
    name: str,
    repeat: int,
    fraction: float,
    images: ImageSet,
    validation: ImageSet,
    normalisation: dict[str, Any],
    model: Model,
    seed: int,
    device: str,
) -> Checkpoint:
    """Return a teacher trained on its own random part of the images."""
    own = part_of(images, fraction, name, seed)
    return train(name, repeat, own, validation, normalisation, model, seed, device)


def part_of(images: ImageSet, fraction: float, name: str, seed: int) -> ImageSet:
    """Return the part of the images that the teacher of that name learns from, every class in proportion."""
    return thin(images, {ALL: round(fraction * len(images))}, seed=seed_for(seed, f"part of {name}"))


def label_images(images: ImageSet, learner: Model, seed: int, device: str, *teachers: Checkpoint) -> SoftLabels:
    """Return what each teacher says about every view that a learner of that recipe will see of the images."""
    return study_nodes.label_images(images, learner.recipe, seed, device, *teachers)


def ask(
    fractions: Mapping[str, float],
    images: ImageSet,
    training_images: ImageSet,
    seed: int,
    device: str,
    *models: Checkpoint,
) -> SoftLabels:
    """Return what each model says about the images as they are; `fractions` by name of those that learned from a part.

    Raises ValueError for a model that learned from other images than the present training set, or its part of it.
    """
    require_one_lineage([model.facts for model in models])
    for name, facts in ((model.facts.name, model.facts) for model in models):
        own = part_of(training_images, fractions[name], name, seed) if name in fractions else training_images
        if facts.images_sha256 != own.sha256:
            raise ValueError(f"{facts.key} learned from other images than the present set: train it again")
    return label(list(models), images, views=1, view_seed=0, augmentation=Augmentation(), device=resolve_device(device))


def rank_teachers(teams: Mapping[str, Sequence[str]], answers: SoftLabels, images: ImageSet) -> dict[str, Any]:
    """Return the validation scores of the teachers of each team, by the name of its arm, then by teacher."""
    validation_scores = {}
    for team, names in teams.items():
        keys = [f"{name}@0" for name in names]
        logits = answers.only(keys).logits[:, :, 0].float()
        validation_scores[team] = {
            key: each.model_dump() for key, each in score_members(keys, logits, images.labels).items()
        }
    return validation_scores


def teach(
    name: str,
    repeat: int,
    arm: Arm,
    images: ImageSet,
    validation: ImageSet,
    normalisation: dict[str, Any],
    soft_labels: SoftLabels,
    model: Model,
    distillation: DistillationConfig,
    seed: int,
    device: str,
    *,
    validation_scores: dict[str, Any] | None = None,
    **teachers: Checkpoint,
) -> Checkpoint:
    """Return a learner of `arm` taught by its teachers.

    `validation_scores` of the arm's team are for fusions that are fitted on validation.
    Raises ValueError for soft labels of other teachers, images or views than these.
    """
    hashes = teachers_hashes(teachers.values())
    said = soft_labels.only(list(hashes))
    views = seed_for(seed, VIEWS)
    said.require(images, hashes, views=model.recipe.view_count, view_seed=views, augmentation=model.recipe.augmentation)
    return learn(
        name,
        arm.architecture(model.architecture),
        FitData(images, validation, Normalisation(**normalisation)),
        model.recipe,
        LearnOptions(seed=seed_for(seed, f"repeat {repeat}"), device=resolve_device(device)),
        distillation=Distillation(
            said,
            arm.distillation(distillation),
            validation_scores and {key: ValidationScore(**score) for key, score in validation_scores[arm.name].items()},
        ),
    )


def measure_costs(roles: Mapping[str, str], images: ImageSet, device: str, *models: Checkpoint) -> pd.DataFrame:
    """Return parameters, multiply-adds per image and images per second of each model, by its role."""
    rows = [
        (
            roles[model.facts.name],
            str(model.facts.architecture),
            model.facts.parameters,
            multiply_adds(model.build(), model.facts.channels, model.facts.image_size),
            images_per_second(model.build(), images, device=resolve_device(device)),
        )
        for model in models
    ]
    return pd.DataFrame(rows, columns=["role", "network", "parameters", "macs", "images_per_second"])
