"""Nodes of student training."""

from typing import Any

from knowledge_transfer.experiment.stage_config import Student, Training
from knowledge_transfer.experiment.stage_steps import StageData, train_model
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet


def train_student(
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    student: Student,
    training: Training,
    seed: int,
    device: str,
) -> Checkpoint:
    """Return the student trained on its domain's labels from fresh weights."""
    data = StageData(student_images, validation_images, normalisation, seed, device)
    return train_model(student, data, training.recipe.override(student.recipe))
