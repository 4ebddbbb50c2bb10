"""Every source of images by the name that `data.source` gives it. Another one is its reader and its line here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from knowledge_transfer.learning.data.image_set import ImageSet


class Source(NamedTuple):
    """A reader: `read(part, size)`, part `train` or `test`, size in pixels.

    With a folder it is `read(folder, part, size)`; of a published source, whose `files` in the folder are named, it is
    `read(folder, part, size, download=...)`. Readers return an ImageSet and raise ValueError with advice.
    """

    read: Callable[..., ImageSet]
    has_folder: bool = True
    files: tuple[str, ...] = ()


def _reader(module: str, *first: str) -> Callable[..., ImageSet]:
    """Return the function `read` of a module of this folder, which is imported when its images are."""

    def read(*given: Any, **options: Any) -> ImageSet:
        images: ImageSet = import_module(f"{__package__}.{module}").read(*first, *given, **options)
        return images

    return read


_torchvision = partial(_reader, "torchvision_images")

SOURCES = {
    "digits": Source(_reader("digits"), has_folder=False),  # 1,797 scans of digits, bundled with scikit-learn
    "glyphs": Source(_reader("synthetic.glyphs"), has_folder=False),  # synthetic capital letters, grey
    "shapes": Source(_reader("synthetic.shapes"), has_folder=False),  # synthetic plane shapes in colour
    "road_signs": Source(_reader("synthetic.road_signs"), has_folder=False),  # synthetic road signs, filmed in tracks
    "folder": Source(_reader("image_folder")),  # the user's own images, one folder for each class
    "gtsrb": Source(_reader("gtsrb"), files=("gtsrb",)),  # photographs of 43 German traffic signs
    # Photographs of 10, and of 100, kinds of things, 32 x 32.
    "cifar10": Source(_torchvision("cifar10"), files=("cifar-10-batches-py", "cifar-10-python.tar.gz")),
    "cifar100": Source(_torchvision("cifar100"), files=("cifar-100-python", "cifar-100-python.tar.gz")),
    "mnist": Source(_torchvision("mnist"), files=("MNIST",)),  # handwritten digits, 28 x 28, grey
    "fashion_mnist": Source(_torchvision("fashion_mnist"), files=("FashionMNIST",)),  # clothes, 28 x 28, grey
}
