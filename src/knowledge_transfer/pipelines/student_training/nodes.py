"""Nodes of student training."""

from __future__ import annotations

from typing import Any

from knowledge_transfer.experiment.config import Student, Training, seed_for
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn


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
    return learn(
        student.name,
        student.architecture,
        FitData(
            student_images.of(student.domain),
            validation_images.of(student.domain),
            Normalisation(**normalisation[student.domain]),
        ),
        training.recipe.override(student.recipe),
        LearnOptions(seed=seed_for(seed, student.name), device=resolve_device(device)),
    )
