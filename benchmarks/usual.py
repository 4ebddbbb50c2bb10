"""What the usual way of distillation has: PIL images one at a time, and an ensemble that is asked as one teacher."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision import transforms

from benchmarks.common import TEMPERATURE
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.ensembles import fusion


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


class MeanOfProbabilities(nn.Module):
    """An ensemble as one teacher: logits whose softmax at the temperature is the mean of its members'."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32 logits [B, classes] of normalised pixels [B, 3, H, W]."""
        said = torch.stack([member(pixels) for member in self.members])
        return fusion.teacher_logits(said, "mean_probabilities", temperature=TEMPERATURE)
