"""Image sets in the catalog: one safetensors file of pixels, labels and groups; classes and domains in its header."""

from __future__ import annotations

import json
from typing import Any

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError

from knowledge_transfer.datasets.storage.safetensors import seal, unseal, unseal_file
from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.learning.data.domains import blocks_of, union_names
from knowledge_transfer.learning.data.image_set import ImageSet


class ImageSetDataset(AbstractDataset[ImageSet, ImageSet]):
    """An ImageSet at `filepath`. A file that cannot be loaded does not exist for `--only-missing-outputs`.

    From a local disk it is memory-mapped: models that train side by side share its pages, and it may be larger than
    memory.
    """

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.store = Store.at(filepath, credentials)
        self.metadata = metadata

    def load(self) -> ImageSet:
        """Return the image set. Raises DatasetError, naming the file, when a bit of it is not as saved."""
        return self._read()

    def save(self, data: ImageSet) -> None:
        """Write the image set. Raises DatasetError when the disk is full."""
        tensors = {"images": data.images, "labels": data.labels}
        if data.groups is not None:
            tensors["groups"] = data.groups
        self.store.write(
            seal(tensors, json.dumps({"blocks": {block.domain: block.class_names for block in data.blocks}}))
        )

    def _exists(self) -> bool:
        # Not load, where Kedro makes this error of a lost connection too: what is there would be made again.
        try:
            self._read()
        except DatasetError:
            return False
        return True

    def _read(self) -> ImageSet:
        try:
            local = self.store.local()
            tensors, header = unseal(self.store.read()) if local is None else unseal_file(local)
            blocks = blocks_of({domain: tuple(names) for domain, names in json.loads(header)["blocks"].items()})
            return ImageSet(
                tensors["images"], tensors["labels"], union_names(blocks), tensors.get("groups"), blocks=blocks
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            file = self.store.address
            raise DatasetError(f"{file} is damaged, delete it and run its node again: {error}") from error

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.store.address}
