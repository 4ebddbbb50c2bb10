"""A user's own images: one folder per class, any size and format that Pillow reads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from knowledge_transfer.datasets.sources.pixels import is_grey, read_files
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import fixed_part

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff", ".gif"}
_PARTS = ("train", "test")


def read(root: Path, part: Literal["train", "test"], size: int) -> ImageSet:
    """Return the images under `root`/`part`, or, where there are no such folders, that part of the images under `root`.

    The shorter side is scaled to `size`, the middle square kept. One channel when every image of both parts is grey,
    else three. Class names are the folders' names, sorted; hidden files and folders are ignored. Raises ValueError for
    a folder without classes, a class without images, or an unreadable image, naming it.
    """
    # A class may be called "train" (beside "ship"): only a folder of folders is a part.
    parts = [name for name in _PARTS if (root / name).is_dir() and _folders(root / name)]
    if not parts:
        classes = _classes(root)
        return fixed_part(_image_set(classes, classes, size), part)
    if len(parts) == 1:
        raise ValueError(f"{root} holds {parts[0]} but not train and test: add the other, or put the classes in {root}")
    training_classes, test_classes = (_classes(root / name) for name in _PARTS)
    if training_classes.keys() != test_classes.keys():
        different = sorted(training_classes.keys() ^ test_classes.keys())
        raise ValueError(f"{root / 'train'} and {root / 'test'} have different class folders: {different}")
    everything = {name: training_classes[name] + test_classes[name] for name in training_classes}
    return _image_set(training_classes if part == "train" else test_classes, everything, size)


def _image_set(classes: dict[str, list[Path]], everything: dict[str, list[Path]], size: int) -> ImageSet:
    """Read `classes`, with the channels that `everything` needs, for both parts are for one network."""
    grey = all(is_grey(file) for files in everything.values() for file in files)
    images = read_files([file for files in classes.values() for file in files], grey=grey, size=size)
    counts = torch.tensor([len(files) for files in classes.values()])
    return ImageSet(images, torch.arange(len(classes)).repeat_interleave(counts), tuple(classes))


def _classes(root: Path) -> dict[str, list[Path]]:
    if not root.is_dir():
        wanted = "a folder that holds one folder per class"
        raise ValueError(f"no folder {root}: set data.path, or the domain's path, to {wanted}")
    folders = _folders(root)
    if len(folders) < 2:
        need = "a classifier needs at least two; set data.path to their folder"
        raise ValueError(f"{root} holds {len(folders)} class folders: {need}")
    classes = {folder.name: _images(folder) for folder in folders}
    if empty := [name for name, files in classes.items() if not files]:
        raise ValueError(f"class folder {root / empty[0]} holds no images ({', '.join(sorted(_SUFFIXES))})")
    return classes


def _folders(root: Path) -> list[Path]:
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in _SUFFIXES
        and file.is_file()
        and not any(name.startswith(".") for name in file.relative_to(folder).parts)
    )
