"""Nodes of reverse distillation."""

from __future__ import annotations

from typing import Any

from knowledge_transfer.experiment.config import DistillationStage, Student, seed_for
from knowledge_transfer.learning.checkpoint import Checkpoint, require_present_images
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.objective import Distillation
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.train import (
    FitData,
    LearnOptions,
    Normalisation,
    learn,
    teachers_hashes,
    transfer_through,
)


def label_by_target(
    transfer_images: ImageSet,
    student_images: ImageSet,
    stage: DistillationStage,
    seed: int,
    device: str,
    target: Checkpoint,
) -> SoftLabels:
    """Return what the target says about every view that the students will see."""
    require_present_images([target.facts], student_images, transfer_images)
    return label(
        [target],
        transfer_through(transfer_images, student_images, stage.distillation),
        views=stage.recipe.view_count,
        view_seed=seed_for(seed, "reverse_distillation"),
        augmentation=stage.recipe.augmentation,
        device=resolve_device(device),
        window=stage.recipe.window,
    )


def distil_student(
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    soft_labels: SoftLabels,
    teacher: Checkpoint,
    student: Student,
    stage: DistillationStage,
    seed: int,
    device: str,
    start: Checkpoint | None = None,
) -> Checkpoint:
    """Return the student taught back by the target over its own domain."""
    images = transfer_through(transfer_images, student_images, stage.distillation)
    recipe = stage.recipe.override(student.reverse_recipe)
    soft_labels.require(
        images,
        teachers_hashes([teacher]),
        views=recipe.view_count,
        view_seed=seed_for(seed, "reverse_distillation"),
        augmentation=recipe.augmentation,
    )
    return learn(
        student.name,
        student.architecture,
        FitData(
            images.of(student.domain),
            validation_images.of(student.domain),
            Normalisation(**normalisation[student.domain]),
        ),
        recipe,
        LearnOptions(seed=seed_for(seed, student.name), device=resolve_device(device)),
        round_=teacher.facts.round,
        start=start,
        distillation=Distillation(soft_labels.of(images, student.domain), stage.distillation),
    )
