"""Nodes of target distillation."""

from typing import Any

from knowledge_transfer.experiment.stage_config import TAUGHT, DistillationStage, Target
from knowledge_transfer.experiment.stage_steps import StageData, StageLabels, label_stage, train_model, views_of
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import rank
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.train import teachers_hashes, transfer_through


def rank_members(validation_images: ImageSet, device: str, *students: Checkpoint) -> dict[str, Any]:
    """Return each member's validation accuracy and its weight in every fitted fusion."""
    scores = rank(list(students), validation_images, device=resolve_device(device))
    return {key: score.model_dump() for key, score in scores.items()}


def label_by_ensemble(
    transfer_images: ImageSet,
    student_images: ImageSet,
    stage: DistillationStage,
    seed: int,
    device: str,
    *students: Checkpoint,
) -> SoftLabels:
    """Return the logits of every student on the target's views of its domain's images."""
    return label_stage(stage, transfer_images, student_images, views_of(Target, seed), device, students)


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
    known = teachers_hashes(teachers.values())
    return train_model(
        target,
        StageData(images, validation_images, normalisation, seed, device),
        stage.recipe,
        arm=TAUGHT,
        round_=1 + max(teacher.facts.round for teacher in teachers.values()),
        start=start,
        labels=StageLabels(soft_labels, known, stage.distillation, validation_scores),
    )
