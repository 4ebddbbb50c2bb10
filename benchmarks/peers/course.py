"""How a fit goes: seconds of every epoch and what validation says after it, which is not counted."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass, field

import torch

from benchmarks.common import resident_peak
from benchmarks.peers.task import Task
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.hardware import autocast
from knowledge_transfer.learning.models.network import Network


@dataclass
class Course:
    """The clock of one side: `start` and `stop` stand around an epoch's steps."""

    task: Task
    labelling_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    began: float = 0.0

    def start(self) -> None:
        """Begin an epoch; the student learns."""
        self.task.student.train()
        self.began = now(self.task.device)

    def stop(self) -> None:
        """End it and ask the student about the validation images."""
        self.seconds.append(now(self.task.device) - self.began)
        self.accuracies.append(accuracy(self.task.student, self.task.validation, self.task.device))


def now(device: torch.device) -> float:
    """Return a clock's seconds once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@torch.inference_mode()
def accuracy(network: Network, images: ImageSet, device: torch.device) -> float:
    """Return the share of right answers, in [0, 1].

    Unlike `evaluation.predict` it leaves the weights' layout in memory alone, which is part of what is compared.
    """
    network.eval()
    correct = 0
    for pixels, labels in zip(images.images.split(256), images.labels.split(256), strict=True):
        with autocast(device, "auto"):
            correct += int((network(pixels.to(device)).argmax(1).cpu() == labels).sum())
    return correct / len(images)


def peak_memory(device: torch.device) -> float:
    """Return the peak of this process or its loaders, the largest of them, or of the GPU's memory, in MB (10^6 bytes).

    Not a number where neither can be told.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    # Children share most of their pages with their parent: the largest, not the sum.
    return max(resident_peak(process) for process in ("self", *_loaders())) / 1e6


def _loaders() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid is not None]
