"""A user's images without labels, to be classified."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kedro.io import AbstractDataset
from kedro.io.core import DatasetError
from torch import Tensor

from knowledge_transfer.datasets.sources.pixels import read_file


class ImageFiles:
    """The images at a path: one file, or every file of a folder and of those in it, hidden ones aside."""

    def __init__(self, path: Path) -> None:
        self.root = path.parent if path.is_file() else path
        self.names = [path.name] if path.is_file() else sorted(_names(path))

    def read(self, names: Sequence[str], *, grey: bool, size: int) -> tuple[list[str], Tensor, dict[str, str]]:
        """Return which of the files are images, their pixels, and why the others are not.

        Pixels are uint8 [images, 1 (grey) or 3, size, size], made of a file as those of a training folder are.
        """
        with ThreadPoolExecutor() as pool:
            read = dict(zip(names, pool.map(lambda name: self._read(name, grey, size), names), strict=True))
        pixels = {name: each for name, each in read.items() if isinstance(each, np.ndarray)}
        stacked = np.stack([*pixels.values()]) if pixels else np.empty((0, 1 if grey else 3, size, size), np.uint8)
        return (
            list(pixels),
            torch.from_numpy(stacked),
            {name: why for name, why in read.items() if isinstance(why, str)},
        )

    def _read(self, name: str, grey: bool, size: int) -> np.ndarray | str:
        try:
            return read_file(self.root / name, grey=grey, size=size)
        except ValueError as error:
            return str(error)


def _names(folder: Path) -> list[str]:
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return [file.as_posix() for file in files if not any(part.startswith(".") for part in file.parts)]


class ImageFilesDataset(AbstractDataset[None, ImageFiles]):
    """The images at `path`, a file or a folder. Raises DatasetError when it is not there or has no files."""

    def __init__(self, *, path: str | None, metadata: dict[str, Any] | None = None) -> None:
        self._path, self.metadata = path, metadata

    def load(self) -> ImageFiles:
        """Return the files, unread."""
        if not self._path:
            raise DatasetError("no images are named: --params images=FOLDER_OR_FILE")
        path = Path(self._path).expanduser()
        if not path.exists():
            raise DatasetError(f"there is no file and no folder {path}: name an image, or a folder of images")
        files = ImageFiles(path)
        if not files.names:
            raise DatasetError(f"{path} holds no files: name an image, or a folder of images")
        return files

    def save(self, data: None) -> None:  # noqa: ARG002 - Kedro names it
        """Refuse: a user's images are read only."""
        raise DatasetError("the images to classify are read only")

    def _describe(self) -> dict[str, Any]:
        return {"path": self._path}
