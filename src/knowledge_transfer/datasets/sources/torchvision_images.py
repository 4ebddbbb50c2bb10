"""MNIST, Fashion-MNIST and CIFAR as published, bit for bit; downloaded unless they are in the folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from knowledge_transfer.datasets.storage.download import fetch, published
from knowledge_transfer.learning.data.domain_mix import resized
from knowledge_transfer.learning.data.image_set import ImageSet

_IDX_NAMES = {"train": "train", "test": "t10k"}


class _Idx(NamedTuple):
    """torchvision's name of a set of IDX files, and the MD5 of its unpacked (images, labels) in each part."""

    name: str
    md5: dict[str, tuple[str, str]]


# torchvision checks only archives, and only at their download: an interrupted unpacking, a flipped bit, or 60 images
# with 50 labels pass.
_IDX = {
    "mnist": _Idx(
        "MNIST",
        {
            "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
            "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
        },
    ),
    "fashion_mnist": _Idx(
        "FashionMNIST",
        {
            "train": ("f4a8712d7a061bf5bd6d2ca38dc4d50a", "9018921c3c673c538a1fc5bad174d6f9"),
            "test": ("8181f5470baa50b63fa0f6fddb340f0a", "15d484375f8d13e6eb1aabb0c3f46965"),
        },
    ),
}
_CIFAR = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}


def read(source: str, root: Path, part: Literal["train", "test"], size: int, *, download: bool = True) -> ImageSet:
    """Return one part of `source`, whole, in the published order, as uint8 [N, 1 or 3, size, size].

    Raises ValueError when the files are neither in `root` nor can be downloaded, or are not the published ones.
    """
    if source in _IDX:
        images, labels, names = _idx(_IDX[source], root, part, download)
    else:
        images, labels, names = _cifar(_CIFAR[source], root, part, download)
    return ImageSet(resized(images, size), labels, names)


def _idx(facts: _Idx, root: Path, part: str, download: bool) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    raw = root / facts.name / "raw"
    files = [raw / f"{_IDX_NAMES[part]}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    if not all(file.is_file() for file in files):
        fetch(facts.name, root, raw, "{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz", download=download)
    pixels, labels = (_published_bytes(file, md5) for file, md5 in zip(files, facts.md5[part], strict=True))
    # The header has four bytes for the type and four for each dimension; the MD5 covers it.
    images = torch.frombuffer(bytearray(pixels), dtype=torch.uint8, offset=16).view(-1, 1, 28, 28)
    targets = torch.frombuffer(bytearray(labels), dtype=torch.uint8, offset=8).long()
    return images, targets, tuple(published(facts.name).classes)


def _published_bytes(file: Path, md5: str) -> bytes:
    data = file.read_bytes()
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(f"{file} is damaged or not the published one (its MD5 is not {md5}): delete it and run again")
    return data


def _cifar(name: str, root: Path, part: str, download: bool) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    archive = Path(published(name).filename)
    # Pickles, which may run code: torchvision opens them after it has checked the MD5 of each.
    opened = fetch(name, root, root, archive.name, download=download, train=part == "train")
    images = torch.from_numpy(np.moveaxis(opened.data, -1, 1).copy())
    return images, torch.tensor(opened.targets), tuple(opened.classes)
