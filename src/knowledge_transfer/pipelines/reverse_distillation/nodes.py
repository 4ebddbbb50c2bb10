"""Nodes of reverse distillation."""

from typing import Any

from knowledge_transfer.experiment.stage_config import TAUGHT, ReverseStage, Student
from knowledge_transfer.experiment.stage_steps import StageData, StageLabels, label_stage, train_model, views_of
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import rank_within
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.train import teachers_hashes, transfer_through


def rank_teachers(validation_images: ImageSet, device: str, *teachers: Checkpoint) -> dict[str, dict[str, Any]]:
    """Return by domain each of its teachers' validation accuracy, and its weight in every fitted fusion."""
    return {
        block.domain: {
            key: score.model_dump()
            for key, score in rank_within(
                block.domain,
                [teacher for teacher in teachers if teacher.facts.domain in (ALL, block.domain)],
                validation_images,
                device=resolve_device(device),
            ).items()
        }
        for block in validation_images.blocks
    }


def label_for_students(
    transfer_images: ImageSet,
    student_images: ImageSet,
    stage: ReverseStage,
    seed: int,
    device: str,
    *teachers: Checkpoint,
) -> SoftLabels:
    """Return the logits of each teacher on every view that the students will see of its domain's images."""
    return label_stage(stage, transfer_images, student_images, views_of(Student, seed), device, teachers)


def distil_student(
    round_: int,
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    soft_labels: SoftLabels,
    validation_scores: dict[str, Any],
    student: Student,
    stage: ReverseStage,
    seed: int,
    device: str,
    *,
    start: Checkpoint | None = None,
    **teachers: Checkpoint,
) -> Checkpoint:
    """Return the student taught back by its teachers in that round, over its own domain."""
    images = transfer_through(transfer_images, student_images, stage.distillation)
    known = teachers_hashes(teachers.values())
    return train_model(
        student,
        StageData(images, validation_images, normalisation, seed, device),
        stage.recipe.override(student.reverse_recipe),
        arm=TAUGHT,
        round_=round_,
        start=start,
        labels=StageLabels(soft_labels, known, stage.distillation, validation_scores[student.domain]),
    )
