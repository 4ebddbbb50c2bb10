"""Every source of images by the name that `data.source` gives it. Another one is its reader and its line here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from knowledge_transfer.datasets.sources import digits, gtsrb, image_folder, torchvision_images
from knowledge_transfer.datasets.sources.synthetic import glyphs, road_signs, shapes
from knowledge_transfer.learning.data.image_set import ImageSet


class Source(NamedTuple):
    """A line about the images and their reader: `read(part, size)`, part `train` or `test`, size in pixels.

    With a folder it is `read(folder, part, size)`; of a published source, whose `files` in the folder are named, it is
    `read(folder, part, size, download=...)`. Readers return an ImageSet and raise ValueError that says what to do.
    """

    about: str
    read: Callable[..., ImageSet]
    has_folder: bool = True
    files: tuple[str, ...] = ()


_TORCHVISION = {
    "cifar10": "photographs of 10 kinds of animals and vehicles, 32 x 32",
    "cifar100": "photographs of 100 kinds of things, 32 x 32",
    "mnist": "handwritten digits, 28 x 28, grey",
    "fashion_mnist": "clothes and shoes, 28 x 28, grey",
}
SOURCES = {
    "digits": Source("1,797 scans of digits, bundled with scikit-learn", digits.read, has_folder=False),
    "glyphs": Source("synthetic capital letters, grey", glyphs.read, has_folder=False),
    "shapes": Source("synthetic plane shapes in colour", shapes.read, has_folder=False),
    "road_signs": Source("synthetic road signs, filmed in tracks", road_signs.read, has_folder=False),
    "folder": Source("your own images, one folder for each class", image_folder.read),
    "gtsrb": Source("photographs of 43 German traffic signs", gtsrb.read, files=(gtsrb.FOLDER,)),
    **{
        name: Source(about, partial(torchvision_images.read, name), files=torchvision_images.names_in_folder(name))
        for name, about in _TORCHVISION.items()
    },
}
