"""Knowledge distillation as the tutorials write it: the side we compare with.

An image loader applies torchvision's transforms to one PIL image at a time, and the teacher answers in every step.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from knowledge_transfer.learning.images import ImageSet
from knowledge_transfer.learning.models import Network


class PilImages(Dataset[tuple[Tensor, int]]):
    """An image set as torchvision's data sets serve it: a PIL image at a time, through its own transforms."""

    def __init__(self, images: ImageSet, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        self.images, self.labels = images.images.permute(0, 2, 3, 1).numpy(), images.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(images.images.shape[2], padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, deviation),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


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
