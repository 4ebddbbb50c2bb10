"""CIFAR-10 as published, in either layout, without running another pickle; synthetic images in its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torchvision.datasets import CIFAR10

from benchmarks.common import ours

_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SHAPE = (3, 32, 32)
_BINARY = "cifar-10-batches-bin"


@dataclass(frozen=True)
class Published:
    """The training and the test images, and their source: `cifar10` or `synthetic`."""

    source: str
    training: ours.ImageSet
    test: ours.ImageSet


def read(folder: Path, per_file: int = 10_000) -> Published:
    """Return CIFAR-10, uint8 [N, 3, 32, 32] in the published order, from either layout in `folder`.

    A binary file has `per_file` images; torchvision checks the MD5 of a pickle before it reads it. Raises ValueError
    where a folder or a file is not as published.
    """
    if (folder / _BINARY).is_dir():
        files = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
        *training, test = (_of_bytes(folder / _BINARY / name, per_file) for name in files)
        parts = [[torch.cat(each) for each in zip(*training, strict=True)], test]
    else:
        try:
            found = [CIFAR10(folder, train=train) for train in (True, False)]
        except RuntimeError as error:
            raise ValueError(
                f"no CIFAR-10 in {folder}, or a damaged one: it should hold {_BINARY} or {CIFAR10.base_folder}, "
                "unpacked from cifar-10-binary.tar.gz or cifar-10-python.tar.gz"
            ) from error
        parts = [[torch.from_numpy(each.data).permute(0, 3, 1, 2), torch.tensor(each.targets)] for each in found]
    return Published("cifar10", *(ours.ImageSet(pixels.contiguous(), labels, _NAMES) for pixels, labels in parts))


def _of_bytes(file: Path, per_file: int) -> list[torch.Tensor]:
    """Return pixels and labels of records with one byte of label and 3072 bytes of pixels."""
    content = file.read_bytes() if file.is_file() else b""
    if len(content) != per_file * 3073:
        raise ValueError(f"{file} is missing or damaged: {len(content)} bytes, not {per_file} images of 3073")
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(per_file, -1)
    if int(records[:, 0].max()) >= len(_NAMES):
        raise ValueError(f"{file} is damaged: labels go from 0 to {len(_NAMES) - 1}")
    return [records[:, 1:].reshape(-1, *_SHAPE), records[:, 0].long()]


def synthetic(training: int, test: int) -> Published:
    """Return images of CIFAR-10's size that a network can learn: noise whose brightness depends on the class."""
    return Published("synthetic", _noise(training, seed=1), _noise(test, seed=2))


def thinned(published: Published, training: int, test: int) -> Published:
    """Return that many images of each part, every class in proportion."""
    parts = ((published.training, training), (published.test, test))
    few = [part.subset(ours.stratified_indices(part.labels, count, seed=0)) for part, count in parts]
    return Published(published.source, *few)


def _noise(count: int, seed: int) -> ours.ImageSet:
    labels = torch.arange(count) % len(_NAMES)
    noise = torch.randint(0, 40, (count, *_SHAPE), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return ours.ImageSet(noise + (labels * 22).to(torch.uint8).view(-1, 1, 1, 1), labels, _NAMES)
