"""The German Traffic Sign Recognition Benchmark: PPM files, 43 classes, frames of filmed signs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from knowledge_transfer.datasets.sources.pixels import read_files
from knowledge_transfer.datasets.storage.download import fetch
from knowledge_transfer.learning.data.image_set import ImageSet

IMAGES = {"train": 39_209, "test": 12_630}
FOLDER = "gtsrb"  # torchvision's, in the one that all published sets share
CLASSES = tuple(f"{number:05d}" for number in range(43))
_FILES = "GTSRB-Training_fixed.zip, GTSRB_Final_Test_Images.zip and GTSRB_Final_Test_GT.zip"


def read(root: Path, part: Literal["train", "test"], size: int, *, download: bool = True) -> ImageSet:
    """Return one part, whole, in the published order, as uint8 [N, 3, size, size]; classes are the published numbers.

    The frames of a training track are a group; test images have none. Raises ValueError for files that are neither in
    `root` nor can be downloaded, missing classes or images, and an unreadable image.
    """
    home = root / FOLDER
    folder = home / "GTSRB" / ("Training" if part == "train" else "Final_Test/Images")
    if not folder.is_dir():
        fetch("GTSRB", root, home, _FILES, download=download, split=part)
    files, labels, groups = _training(folder) if part == "train" else _test(folder, home / "GT-final_test.csv")
    # An interrupted unpacking leaves a folder that torchvision takes for complete.
    if len(files) != IMAGES[part]:
        counts = f"{len(files)} images, {IMAGES[part]} were published"
        raise ValueError(f"{folder} holds {counts}: delete that folder and run again")
    return ImageSet(read_files(files, grey=False, size=size), labels, CLASSES, groups)


def _training(folder: Path) -> tuple[list[Path], Tensor, Tensor]:
    # By number, not by position as torchvision does it: one missing folder would shift every later label.
    found = {child.name for child in folder.iterdir() if child.is_dir()}
    if wrong := sorted(found ^ set(CLASSES)):
        raise ValueError(f"{folder} lacks, or has too much, the class folders {wrong}: delete it and run again")
    files = sorted(folder.glob("*/*.ppm"))
    tracks = [(file.parent.name, file.stem.split("_")[0]) for file in files]
    numbers = {track: number for number, track in enumerate(dict.fromkeys(tracks))}
    labels = torch.tensor([int(file.parent.name) for file in files], dtype=torch.int64)
    return files, labels, torch.tensor([numbers[track] for track in tracks], dtype=torch.int64)


def _test(folder: Path, table: Path) -> tuple[list[Path], Tensor, None]:
    if not table.is_file():
        raise ValueError(f"{table}, the labels of the test images, is missing: delete {folder.parent} and run again")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";", skipinitialspace=True))
    try:
        labels = torch.tensor([int(row["ClassId"]) for row in rows], dtype=torch.int64)
        return [folder / row["Filename"] for row in rows], labels, None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{table} is not the published table of test labels: {error}; replace it") from error
