"""The plain loop of PyTorch's knowledge distillation tutorial (Chariton, pytorch.org): the teacher in every step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common import ALPHA, TEMPERATURE
from benchmarks.peers.course import Course
from benchmarks.peers.loading import loader
from benchmarks.peers.task import Task

PRECISION = "float32"


def loss_of(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """Return the weighted sum of soft and hard loss of logits [B, C] and labels [B], a scalar, as the tutorial does."""
    soft_targets = F.softmax(teacher_logits / TEMPERATURE, dim=-1)
    soft_prob = F.log_softmax(student_logits / TEMPERATURE, dim=-1)
    soft_loss = torch.sum(soft_targets * (soft_targets.log() - soft_prob)) / soft_prob.size(0) * TEMPERATURE**2
    return ALPHA * soft_loss + (1 - ALPHA) * F.cross_entropy(student_logits, labels)


def distil(task: Task, course: Course) -> None:
    """Train the student."""
    student, teacher, batches = task.student.body, task.teacher, loader(task)
    optimizer = task.optimizer(student)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, task.factor)
    for _ in range(task.epochs):
        course.start()
        running_loss = 0.0
        for pixels, labels in batches:
            inputs, targets = pixels.to(task.device), labels.to(task.device)
            optimizer.zero_grad()
            with torch.no_grad():
                teacher_logits = teacher(inputs)
            loss = loss_of(student(inputs), teacher_logits, targets)
            loss.backward()
            optimizer.step()
            scheduler.step()
            running_loss += loss.item()
        course.stop()
