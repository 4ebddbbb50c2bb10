"""Knowledge distillation as the tutorials write it: the side we compare with.

An image loader applies torchvision's transforms to one PIL image at a time, and the teacher answers in every step.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from knowledge_transfer.learning.models.network import Network


class Bare(nn.Module):
    """A network without its normalisation, for loaders that normalise."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.body = network.body

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits [B, classes] of normalised pixels [B, C, H, W]."""
        return self.body(pixels)


def epoch(
    student: nn.Module,
    teacher: nn.Module,
    loader: DataLoader[Any],
    *,
    alpha: float,
    temperature: float,
    device: torch.device | None = None,
) -> float:
    """Train `student` for one epoch in float32 on `device` (none: the CPU), where both are; return its mean loss."""
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    student.train()
    teacher.eval()
    total = 0.0
    for batch in loader:
        pixels, labels = (each.to(device or "cpu", non_blocking=True) for each in batch)
        with torch.no_grad():
            teacher_logits = teacher(pixels)
        student_logits = student(pixels)
        soft = F.kl_div(
            F.log_softmax(student_logits / temperature, dim=1),
            F.softmax(teacher_logits / temperature, dim=1),
            reduction="batchmean",
        )
        loss = alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)
