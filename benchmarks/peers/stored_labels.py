"""Ours: the teacher labels some views of every image once, the student learns from what is stored."""

from __future__ import annotations

from benchmarks.common import ALPHA, AUGMENTATION, TEMPERATURE
from benchmarks.peers.course import Course, now
from benchmarks.peers.task import Task
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.objective import Distillation
from knowledge_transfer.learning.training.loop import fit
from knowledge_transfer.learning.training.trainer import FitOptions

PRECISION = "bf16"
TEACHING = DistillationConfig(alpha=ALPHA, temperature=TEMPERATURE)


def distil(task: Task, course: Course) -> None:
    """Label, then train the student."""
    began = now(task.device)
    soft_labels = label(
        task.teachers,
        task.images,
        views=task.views,
        view_seed=task.seed,
        augmentation=AUGMENTATION,
        device=task.device,
    )
    objective = Distillation(soft_labels, TEACHING).objective(task.images)
    course.labelling_seconds = now(task.device) - began
    options = FitOptions("student", task.seed, task.device, objective)
    fitted = fit(task.student, task.images, task.recipe, options, validation=task.validation)
    seen = task.steps * task.batch
    course.seconds = [seen / row.images_per_second for row in fitted.history]
    course.accuracies = [row.validation_accuracy for row in fitted.history]
