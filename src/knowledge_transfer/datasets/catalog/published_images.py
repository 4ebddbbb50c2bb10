"""The images that an experiment starts from, of any source in the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError

from knowledge_transfer.datasets.sources.registry import SOURCES
from knowledge_transfer.datasets.storage.remote_folder import copied, is_remote
from knowledge_transfer.datasets.storage.store import shown
from knowledge_transfer.learning.config import did_you_mean
from knowledge_transfer.learning.data.image_set import ImageSet

Part = Literal["train", "test"]


class PublishedImagesDataset(AbstractDataset[None, ImageSet]):
    """The training or the test images of `source`, square, `image_size` pixels.

    `source` is a name of `sources.registry.SOURCES`, or of an entry {source, path} of `domains`. Published sets are
    read from the folder `path` and downloaded into it if need be. `folder` reads one folder per class in `path`, or
    `train` and `test` folders of those. Without a published test set, a fifth of each class becomes the test set.
    A `path` such as s3://bucket/folder is reached with `credentials`. Every load copies what the source needs of it to
    a temporary folder (see TMPDIR); nothing is downloaded into it.
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
        """Return the images. Raises DatasetError that names the fault, the file and the remedy."""
        source = SOURCES[self._source]
        try:
            if not source.has_folder:
                return source.read(self._split, self._size)
            if not is_remote(self._path):
                return source.read(Path(self._path.removeprefix("file://")), self._split, self._size)
            with copied(self._path, self._credentials, source.files) as folder:
                # Into a temporary copy nothing is downloaded: it would be fetched anew at every load.
                options = {"download": False} if source.files else {}
                return source.read(folder, self._split, self._size, **options)
        except (ValueError, OSError, ImportError) as error:  # the last from fsspec, which names what to install
            raise DatasetError(str(error)) from error

    def save(self, data: None) -> None:  # noqa: ARG002 - Kedro names it
        """Refuse: published images are read only."""
        raise DatasetError("published images are read only")

    def _describe(self) -> dict[str, Any]:
        return {"source": self._source, "path": shown(self._path), "split": self._split, "image_size": self._size}
