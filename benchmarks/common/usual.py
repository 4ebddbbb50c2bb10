"""The usual way to distil: one PIL image at a time, and an ensemble as one teacher in every step."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import transforms

from benchmarks.common import ours


class PilImages(Dataset[tuple[Tensor, int]]):
    """An image set in the way of torchvision's data sets: one PIL image at a time, through its own transforms."""

    def __init__(self, images: ours.ImageSet, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        self.images, self.labels = images.images.permute(0, 2, 3, 1).numpy(), images.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(images.images.shape[2], padding=4, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, deviation),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class MeanOfProbabilities(nn.Module):
    """An ensemble as one teacher: the softmax of its logits at the temperature is the mean of its members'."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32 logits [B, classes] of pixels [B, C, H, W]."""
        logits = torch.stack([member(pixels) for member in self.members])
        return ours.fusion.teacher_logits(logits, "mean_probabilities", temperature=ours.TEMPERATURE)


def one_teacher(members: list[nn.Module], device: torch.device) -> nn.Module:
    """Return one frozen teacher on `device`: the only member, or the mean of all members' probabilities."""
    teacher = members[0] if len(members) == 1 else MeanOfProbabilities(members)
    return teacher.eval().requires_grad_(False).to(device)
