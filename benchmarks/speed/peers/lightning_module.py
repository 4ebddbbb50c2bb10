"""Lightning: a module with the teacher in every step. The strong baseline.

Mixed precision and channels_last, one line each, as PyTorch's tuning guide advises; both pay on CPUs as well.
"""

from __future__ import annotations

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from benchmarks.speed.peers.fit import EpochClock
from benchmarks.speed.peers.plain import tutorial_loss
from benchmarks.speed.peers.task import Task


class Distillation(lightning.LightningModule):
    """A student that learns from a frozen teacher."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.student, self.teacher, self.task = task.student.body, task.teacher(), task
        self.to(memory_format=torch.channels_last)

    def training_step(self, batch: tuple[Tensor, Tensor], _number: int) -> Tensor:
        """Return the float32 loss of a batch."""
        pixels, labels = batch
        with torch.no_grad():
            teacher_logits = self.teacher(pixels)
        return tutorial_loss(self.student(pixels).float(), teacher_logits.float(), labels)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer, and its schedule by step."""
        optimizer, scheduler = self.task.scheduled(self.student)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Timing(lightning.Callback):
    """Times the epochs of a fit."""

    def __init__(self, clock: EpochClock) -> None:
        self.clock = clock

    def on_train_epoch_start(self, *_: object) -> None:
        """Start the clock."""
        self.clock.start()

    def on_train_epoch_end(self, *_: object) -> None:
        """Stop it and validate."""
        self.clock.stop()


def train(task: Task, clock: EpochClock) -> None:
    """Train with the trainer of Lightning."""
    trainer = lightning.Trainer(
        max_epochs=task.epochs,
        precision="bf16-mixed" if task.mixed else "32-true",
        accelerator="gpu" if task.device.type == "cuda" else task.device.type,
        devices=1,
        callbacks=[Timing(clock)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Distillation(task), task.loader())
