"""Image sets in the catalog: one safetensors file of pixels, labels and groups; classes and domains in its header."""

from __future__ import annotations

import json

from kedro.io import AbstractDataset
from torch import Tensor

from knowledge_transfer.datasets.storage.checked_file import CheckedFile
from knowledge_transfer.learning.data.domains import blocks_of, union_names
from knowledge_transfer.learning.data.image_set import ImageSet


class ImageSetDataset(CheckedFile[ImageSet], AbstractDataset[ImageSet, ImageSet]):
    """An ImageSet at `filepath`."""

    def to_tensors(self, data: ImageSet) -> tuple[dict[str, Tensor], str]:
        """Return pixels, labels and groups, and the classes of each domain."""
        tensors = {"images": data.images, "labels": data.labels}
        if data.groups is not None:
            tensors["groups"] = data.groups
        return tensors, json.dumps({"blocks": {block.domain: block.class_names for block in data.blocks}})

    def from_tensors(self, tensors: dict[str, Tensor], facts: str) -> ImageSet:
        """Return the image set."""
        blocks = blocks_of({domain: tuple(names) for domain, names in json.loads(facts)["blocks"].items()})
        return ImageSet(tensors["images"], tensors["labels"], union_names(blocks), tensors.get("groups"), blocks)
