"""The sides that need torch alone: PyTorch's tutorial, this package with the teacher in every step, and ours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common import ours
from benchmarks.common.timing import now
from benchmarks.common.usual import one_teacher
from benchmarks.speed.peers.fit import EpochClock
from benchmarks.speed.peers.task import PAIRS, Task


def tutorial_loss(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """Return the weighted sum of soft and hard loss of logits [B, C] and labels [B], a scalar, as in the tutorial."""
    soft_targets = F.softmax(teacher_logits / ours.TEMPERATURE, dim=-1)
    soft_prob = F.log_softmax(student_logits / ours.TEMPERATURE, dim=-1)
    soft_loss = torch.sum(soft_targets * (soft_targets.log() - soft_prob)) / soft_prob.size(0) * ours.TEMPERATURE**2
    return ours.ALPHA * soft_loss + (1 - ours.ALPHA) * F.cross_entropy(student_logits, labels)


def tutorial(task: Task, clock: EpochClock) -> None:
    """Train as PyTorch's knowledge distillation tutorial (Chariton, pytorch.org), with the teacher in every step."""
    student, teacher, batches = task.student.body, task.teacher(), task.loader()
    optimizer, scheduler = task.scheduled(student)
    for _ in range(task.epochs):
        clock.start()
        running_loss = 0.0
        for pixels, labels in batches:
            inputs, targets = pixels.to(task.device), labels.to(task.device)
            optimizer.zero_grad()
            with torch.no_grad():
                teacher_logits = teacher(inputs)
            loss = tutorial_loss(student(inputs), teacher_logits, targets)
            loss.backward()
            optimizer.step()
            scheduler.step()
            running_loss += loss.item()
        clock.stop()


def in_step(task: Task, clock: EpochClock) -> None:
    """Train with the teacher in every step, and with the bfloat16, memory format, folding and views of this package.

    Its ratio to `stored_labels` is the gain of stored soft labels alone.
    """
    teacher = one_teacher([ours.folded(each.build(), task.images.images[:2]) for each in task.teachers], task.device)
    teacher, student = (each.to(memory_format=torch.channels_last) for each in (teacher, task.student))  # type: ignore[call-overload]
    optimizer, scheduler = task.scheduled(student)
    pixels, labels = task.images.images.to(task.device), task.images.labels.to(task.device)
    for _ in range(task.epochs):
        clock.start()
        order = torch.randperm(len(labels))[: task.steps * task.batch].to(task.device)
        for indices in order.split(task.batch):
            view = ours.view_of(pixels, indices).to(memory_format=torch.channels_last)
            with ours.autocast(task.device, "auto"):
                with torch.no_grad():
                    teacher_logits = teacher(view).float()
                student_logits = student(view).float()
            optimizer.zero_grad(set_to_none=True)
            ours.distillation_loss(student_logits, teacher_logits, labels[indices]).backward()
            optimizer.step()
            scheduler.step()
        clock.stop()


def stored_labels(task: Task, clock: EpochClock) -> None:
    """Label some views of every image once, then train from the first weights, which `learn` draws by the seed."""
    _stored_labels(task, clock, task.recipe)


def stored_labels_muon(task: Task, clock: EpochClock) -> None:
    """Do so with Muon, in fewer epochs."""
    epochs, rate = PAIRS[task.pair].muon
    changes = {"optimizer": "muon", "learning_rate": rate, "epochs": min(epochs, task.epochs)}
    _stored_labels(task, clock, task.recipe.override(changes))


def _stored_labels(task: Task, clock: EpochClock, recipe: ours.Recipe) -> None:
    began = now(task.device)
    stored = ours.soft_labels(task.teachers, task.images, task.device, views=task.views, seed=task.seed)
    clock.labelling_seconds = now(task.device) - began
    data, options = (
        ours.FitData(task.images, task.validation, task.normalisation),
        ours.LearnOptions(task.seed, task.device),
    )
    taught = ours.Distillation(stored, ours.DISTILLATION)
    student = ours.learn("student", task.architecture, data, recipe, options, distillation=taught)
    clock.seconds = [task.steps * task.batch / epoch["images_per_second"] for epoch in student.curve]
    clock.accuracies = [epoch["validation_accuracy"] for epoch in student.curve]
