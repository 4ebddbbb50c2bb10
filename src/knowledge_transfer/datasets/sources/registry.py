"""Every source of images by the name that `data.source` gives it. Another one is its reader and its line here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from knowledge_transfer.datasets.sources import digits, gtsrb, image_folder, torchvision_images
from knowledge_transfer.datasets.sources.synthetic import glyphs, road_signs, shapes
from knowledge_transfer.learning.data.image_set import ImageSet


class Source(NamedTuple):
    """A reader: `read(part, size)`, part `train` or `test`, size in pixels.

    With a folder it is `read(folder, part, size)`; of a published source, whose `files` in the folder are named, it is
    `read(folder, part, size, download=...)`. Readers return an ImageSet and raise ValueError with advice.
    """

    read: Callable[..., ImageSet]
    has_folder: bool = True
    files: tuple[str, ...] = ()


def _torchvision(name: str) -> dict[str, Source]:
    return {name: Source(partial(torchvision_images.read, name), files=torchvision_images.names_in_folder(name))}


SOURCES = {
    "digits": Source(digits.read, has_folder=False),  # 1,797 scans of digits, bundled with scikit-learn
    "glyphs": Source(glyphs.read, has_folder=False),  # synthetic capital letters, grey
    "shapes": Source(shapes.read, has_folder=False),  # synthetic plane shapes in colour
    "road_signs": Source(road_signs.read, has_folder=False),  # synthetic road signs, filmed in tracks
    "folder": Source(image_folder.read),  # the user's own images, one folder for each class
    "gtsrb": Source(gtsrb.read, files=(gtsrb.FOLDER,)),  # photographs of 43 German traffic signs
    **_torchvision("cifar10"),  # photographs of 10 kinds of animals and vehicles, 32 x 32
    **_torchvision("cifar100"),  # photographs of 100 kinds of things, 32 x 32
    **_torchvision("mnist"),  # handwritten digits, 28 x 28, grey
    **_torchvision("fashion_mnist"),  # clothes and shoes, 28 x 28, grey
}
