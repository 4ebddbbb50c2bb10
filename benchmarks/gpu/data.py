"""CIFAR-10 as published, in either layout, read without running what a pickle may say; images made up in its place."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import stratified_indices

_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_PARTS = {
    "cifar-10-batches-bin": ([f"data_batch_{number}.bin" for number in range(1, 6)], ["test_batch.bin"]),
    "cifar-10-batches-py": ([f"data_batch_{number}" for number in range(1, 6)], ["test_batch"]),
}
# All that the pickles of arrays in lists and dictionaries name; numpy has moved its own since they were written.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


@dataclass(frozen=True)
class Published:
    """The training and the test images, and what they are: `cifar10`, or `synthetic` where they were made up."""

    source: str
    training: ImageSet
    test: ImageSet


def read(folder: Path, per_file: int = 10_000) -> Published:
    """Return CIFAR-10 from `folder`, which is, or holds, `cifar-10-batches-bin` or `cifar-10-batches-py`.

    Both parts are uint8 [N, 3, 32, 32] in the published order, from files of `per_file` images each. Raises ValueError,
    naming the file and what is wrong with it, when there is neither or a file is not as published.
    """
    for layout, parts in _PARTS.items():
        for place in (folder / layout, folder):
            if (place / parts[1][0]).is_file():
                training, test = (_joined([place / name for name in names], per_file) for names in parts)
                return Published("cifar10", training, test)
    raise ValueError(
        f"no CIFAR-10 in {folder}: it should hold {' or '.join(_PARTS)}, unpacked from cifar-10-binary.tar.gz "
        "or cifar-10-python.tar.gz"
    )


def made_up(training: int, test: int) -> Published:
    """Return images of CIFAR-10's size that can be learnt: noise whose brightness tells the class."""
    return Published("synthetic", _noise(training, seed=1), _noise(test, seed=2))


def thinned(published: Published, training: int, test: int) -> Published:
    """Return that many images of each part, every class in proportion."""
    few = [
        part.subset(stratified_indices(part.labels, count, seed=0))
        for part, count in ((published.training, training), (published.test, test))
    ]
    return Published(published.source, *few)


def _noise(count: int, seed: int) -> ImageSet:
    labels = torch.arange(count) % len(_NAMES)
    noise = torch.randint(0, 40, (count, *_SHAPE), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return ImageSet(noise + (labels * 22).to(torch.uint8).view(-1, 1, 1, 1), labels, _NAMES)


def _joined(files: list[Path], per_file: int) -> ImageSet:
    batches = [_checked(file, per_file) for file in files]
    pixels, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return ImageSet(pixels.view(-1, *_SHAPE), labels, _NAMES)


def _checked(file: Path, per_file: int) -> tuple[Tensor, Tensor]:
    """Return pixels uint8 [N, 3072] and labels int64 [N] of one file."""
    reader: Callable[[bytes], tuple[Any, Any]] = _of_bytes if file.suffix == ".bin" else _of_pickle
    try:
        given, named = reader(file.read_bytes())
        # Copied, for torch does not take memory that it must not write to.
        pixels, labels = torch.from_numpy(np.array(given)), torch.from_numpy(np.array(named, dtype=np.int64))
    except (OSError, EOFError, pickle.UnpicklingError, ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"{file} is missing, damaged or not the published one: {error}") from error
    if pixels.dtype != torch.uint8 or pixels.shape != (per_file, _PIXELS):
        raise ValueError(f"{file} holds {pixels.dtype} {list(pixels.shape)}, not {per_file} images of {_PIXELS} bytes")
    if labels.shape != pixels.shape[:1] or not 0 <= int(labels.min()) <= int(labels.max()) < len(_NAMES):
        raise ValueError(f"{file}: {len(pixels)} images need as many labels from 0 to {len(_NAMES) - 1}")
    return pixels, labels


def _of_bytes(content: bytes) -> tuple[Any, Any]:
    """Return pixels and labels of records of a label's byte and the pixels' 3072."""
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1 + _PIXELS)
    return records[:, 1:], records[:, 0]


def _of_pickle(content: bytes) -> tuple[Any, Any]:
    found = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    return found["data"], found["labels"]


class _ArraysOnly(pickle.Unpickler):
    """Knows nothing but arrays: a pickle that names anything else is refused before it can run it."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)
