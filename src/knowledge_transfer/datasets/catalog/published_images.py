"""The images an experiment starts from: a published data set, the embedded digits, or a user's own folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError

from knowledge_transfer.datasets.sources import digits, gtsrb, image_folder, synthetic, torchvision_images
from knowledge_transfer.datasets.storage.remote_folder import copied, is_remote
from knowledge_transfer.datasets.storage.store import shown
from knowledge_transfer.learning.config import did_you_mean
from knowledge_transfer.learning.data.image_set import ImageSet

SOURCES = ("digits", *synthetic.SOURCES, "folder", "gtsrb", *torchvision_images.SOURCES)
Part = Literal["train", "test"]


class PublishedImagesDataset(AbstractDataset[None, ImageSet]):
    """The training or the test images of `source`, square, `image_size` pixels.

    `source`: digits (bundled with scikit-learn); glyphs, shapes, road_signs (drawn by this project); a published set
    (cifar10, cifar100, mnist, fashion_mnist, gtsrb: read from the folder `path`, downloaded into it if need be); or
    folder (`path` holds one folder per class, or `train` and `test` folders of those). Where nobody published a test
    set, a fifth of each class is cut off for it. `domains` may give sources other names: its entry called `source`, if
    there is one, says what that stands for ({source, path}).
    A `path` such as s3://bucket/folder, reached with `credentials`, is copied to a temporary folder (see TMPDIR) at
    every load, as far as the source needs it; nothing is downloaded into it.
    Raises DatasetError for an unknown source or split, and a size that is no positive number.
    """

    def __init__(
        self,
        *,
        source: str,
        path: str,
        image_size: int,
        split: Part,
        domains: dict[str, Any] | None = None,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        named = (domains or {}).get(source) or {}
        source, path = named.get("source") or source, named.get("path") or path
        if source not in SOURCES:
            raise DatasetError(f"unknown source '{source}'{did_you_mean(str(source).lower(), SOURCES)}")
        if split not in get_args(Part):
            raise DatasetError(f"unknown split '{split}'{did_you_mean(str(split), get_args(Part))}")
        if type(image_size) is not int or image_size < 1:
            raise DatasetError(f"image_size is a number of pixels, got {image_size!r}")
        self._source, self._path, self._size, self._split = source, path, image_size, split
        self._credentials = credentials
        self.metadata = metadata

    def load(self) -> ImageSet:
        """Return the images. Raises DatasetError that says what is missing or wrong, where, and what to do."""
        try:
            if self._source == "digits":
                return digits.read(self._split, self._size)
            if self._source in synthetic.SOURCES:
                return synthetic.read(self._source, self._split, self._size)
            if not is_remote(self._path):
                return self._read(Path(self._path.removeprefix("file://")))
            with copied(self._path, self._credentials, self._names()) as folder:
                return self._read(folder, download=False)
        except (ValueError, OSError, ImportError) as error:  # the last from fsspec, which says what to install
            raise DatasetError(str(error)) from error

    def _names(self) -> tuple[str, ...]:
        """Return what of the folder the source needs, nothing for all of it."""
        if self._source == "folder":
            return ()
        return (gtsrb.FOLDER,) if self._source == "gtsrb" else torchvision_images.names_in_folder(self._source)

    def _read(self, folder: Path, **download: bool) -> ImageSet:
        if self._source == "folder":
            return image_folder.read(folder, self._split, self._size)
        if self._source == "gtsrb":
            return gtsrb.read(folder, self._split, self._size, **download)
        return torchvision_images.read(self._source, folder, self._split, self._size, **download)

    def save(self, data: None) -> None:  # noqa: ARG002 - Kedro names it
        """Refuse: published images are read only."""
        raise DatasetError("published images are read only")

    def _describe(self) -> dict[str, Any]:
        return {"source": self._source, "path": shown(self._path), "split": self._split, "image_size": self._size}
