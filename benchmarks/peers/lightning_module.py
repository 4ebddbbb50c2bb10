"""Lightning: a module with the teacher in every step. The strong baseline.

Mixed precision and channels_last, one line each, as PyTorch's tuning guide advises; both pay on CPUs as well.
"""

from __future__ import annotations

from typing import Final

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from benchmarks.common import ALPHA, TEMPERATURE
from benchmarks.peers.course import Course
from benchmarks.peers.loading import loader
from benchmarks.peers.task import Task

PRECISION: Final = "bf16-mixed"


def loss_of(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """Return the weighted sum of soft and hard loss of logits [B, C] and labels [B], a float32 scalar."""
    student_logits, teacher_logits = student_logits.float(), teacher_logits.float()
    soft_loss = F.kl_div(
        F.log_softmax(student_logits / TEMPERATURE, dim=1),
        F.softmax(teacher_logits / TEMPERATURE, dim=1),
        reduction="batchmean",
    )
    return ALPHA * TEMPERATURE**2 * soft_loss + (1 - ALPHA) * F.cross_entropy(student_logits, labels)


class Distillation(lightning.LightningModule):
    """A student that learns from a frozen teacher."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.student, self.teacher, self.task = task.student.body, task.teacher, task
        self.to(memory_format=torch.channels_last)

    def training_step(self, batch: tuple[Tensor, Tensor], _number: int) -> Tensor:
        """Return the loss of a batch."""
        pixels, labels = batch
        with torch.no_grad():
            teacher_logits = self.teacher(pixels)
        return loss_of(self.student(pixels), teacher_logits, labels)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer, and its schedule by step."""
        optimizer = self.task.optimizer(self.student)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.task.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Timing(lightning.Callback):
    """Keeps the course of a fit."""

    def __init__(self, course: Course) -> None:
        self.course = course

    def on_train_epoch_start(self, *_: object) -> None:
        """Start the clock."""
        self.course.start()

    def on_train_epoch_end(self, *_: object) -> None:
        """Stop it and validate."""
        self.course.stop()


def distil(task: Task, course: Course) -> None:
    """Train the student."""
    trainer = lightning.Trainer(
        max_epochs=task.epochs,
        precision=PRECISION if task.mixed else "32-true",
        accelerator="gpu" if task.device.type == "cuda" else task.device.type,
        devices=1,
        callbacks=[Timing(course)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Distillation(task), loader(task))
