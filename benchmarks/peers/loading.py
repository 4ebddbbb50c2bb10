"""How every side that is not ours loads the training images."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.peers.task import Task
from benchmarks.usual import PilImages


def images_of(task: Task) -> PilImages:
    """Return the training images, normalised as the teachers' were."""
    return PilImages(task.images, task.normalisation.mean, task.normalisation.deviation)


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
    return DataLoader(images_of(task), shuffle=True, **loader_options(task))
