"""Nodes of reverse distillation."""

from typing import Any

from knowledge_transfer.experiment.stage_config import DistillationStage, Student
from knowledge_transfer.experiment.stage_steps import StageData, StageLabels, label_stage, train_model, views_of
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.train import teachers_hashes, transfer_through


def label_by_target(
    transfer_images: ImageSet,
    student_images: ImageSet,
    stage: DistillationStage,
    seed: int,
    device: str,
    target: Checkpoint,
) -> SoftLabels:
    """Return the logits of the target on every view that the students will see."""
    return label_stage(stage, transfer_images, student_images, views_of(Student, seed), device, [target])


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
    return train_model(
        student,
        StageData(images, validation_images, normalisation, seed, device),
        stage.recipe.override(student.reverse_recipe),
        round_=teacher.facts.round,
        start=start,
        labels=StageLabels(soft_labels, teachers_hashes([teacher]), stage.distillation),
    )
