"""Nodes of target distillation."""

from __future__ import annotations

from typing import Any

from knowledge_transfer.experiment.config import DistillationStage, Target, seed_for
from knowledge_transfer.learning.checkpoint import Checkpoint, require_present_images
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.objective import Distillation
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore, rank
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.train import (
    FitData,
    LearnOptions,
    Normalisation,
    learn,
    teachers_hashes,
    transfer_through,
)


def rank_members(validation_images: ImageSet, device: str, *students: Checkpoint) -> dict[str, Any]:
    """Return each member's validation accuracy and its part in every fusion that is fitted on validation."""
    validation_scores = rank(list(students), validation_images, device=resolve_device(device))
    return {key: score.model_dump() for key, score in validation_scores.items()}


def label_by_ensemble(
    transfer_images: ImageSet,
    student_images: ImageSet,
    stage: DistillationStage,
    seed: int,
    device: str,
    *students: Checkpoint,
) -> SoftLabels:
    """Return what every student says about every view that the target will see of its domain's images."""
    require_present_images([student.facts for student in students], student_images, transfer_images)
    return label(
        list(students),
        transfer_through(transfer_images, student_images, stage.distillation),
        views=stage.recipe.view_count,
        view_seed=seed_for(seed, "target_distillation"),
        augmentation=stage.recipe.augmentation,
        device=resolve_device(device),
        window=stage.recipe.window,
    )


def distil_target(
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    soft_labels: SoftLabels,
    validation_scores: dict[str, Any],
    target: Target,
    stage: DistillationStage,
    seed: int,
    device: str,
    *,
    start: Checkpoint | None = None,
    **teachers: Checkpoint,
) -> Checkpoint:
    """Return the target taught by the ensemble."""
    images = transfer_through(transfer_images, student_images, stage.distillation)
    soft_labels.require(
        images,
        teachers_hashes(teachers.values()),
        views=stage.recipe.view_count,
        view_seed=seed_for(seed, "target_distillation"),
        augmentation=stage.recipe.augmentation,
    )
    return learn(
        target.name,
        target.architecture,
        FitData(images, validation_images, Normalisation(**normalisation[ALL])),
        stage.recipe,
        LearnOptions(seed=seed_for(seed, target.name), device=resolve_device(device), replicas=target.devices),
        round_=1 + max(teacher.facts.round for teacher in teachers.values()),
        start=start,
        distillation=Distillation(
            soft_labels, stage.distillation, {key: ValidationScore(**score) for key, score in validation_scores.items()}
        ),
    )
