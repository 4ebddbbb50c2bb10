"""Images as torchvision's data sets serve them: a PIL image at a time, through its own transforms."""

from __future__ import annotations

from typing import Any

from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.peers.task import Task


class PilImages(Dataset[tuple[Tensor, int]]):
    """The training images: normalised float32 [3, 32, 32], shifted and mirrored, and their label."""

    def __init__(self, task: Task) -> None:
        images = task.images
        self.images, self.labels = images.images.permute(0, 2, 3, 1).numpy(), images.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(images.images.shape[2], padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(task.normalisation.mean, task.normalisation.deviation),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def loader_options(task: Task) -> dict[str, Any]:
    """Return what a DataLoader of any side is told; its worker processes stay from one epoch to the next."""
    return {
        "batch_size": task.batch,
        "num_workers": task.workers,
        "persistent_workers": task.workers > 0,
        "drop_last": True,
        "pin_memory": task.device.type == "cuda",
    }


def loader(task: Task) -> DataLoader[tuple[Tensor, int]]:
    """Return a shuffling loader of the training images."""
    return DataLoader(PilImages(task), shuffle=True, **loader_options(task))
