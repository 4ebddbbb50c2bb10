"""Soft labels in the catalog: one safetensors file of logits, the labelling's facts in its header."""

from __future__ import annotations

import json
from typing import Any

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError

from knowledge_transfer.datasets.storage.safetensors import seal, unseal
from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.learning.distillation.soft_labels import LabellingFacts, SoftLabels


class SoftLabelsDataset(AbstractDataset[SoftLabels, SoftLabels]):
    """SoftLabels at `filepath`. A file that cannot be loaded does not exist for `--only-missing-outputs`."""

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.store = Store.at(filepath, credentials)
        self.metadata = metadata

    def load(self) -> SoftLabels:
        """Return the soft labels. Raises DatasetError, naming the file, when a bit of it is not as saved."""
        return self._read()

    def save(self, data: SoftLabels) -> None:
        """Write the soft labels. Raises DatasetError when the disk is full."""
        self.store.write(seal({"logits": data.logits}, data.facts.model_dump_json()))

    def _exists(self) -> bool:
        # Not load, where Kedro makes this error of a lost connection too: what is there would be made again.
        try:
            self._read()
        except DatasetError:
            return False
        return True

    def _read(self) -> SoftLabels:
        try:
            tensors, facts = unseal(self.store.read())
            return SoftLabels(tensors["logits"], LabellingFacts(**json.loads(facts)))
        except (KeyError, TypeError, ValueError) as error:
            file = self.store.address
            raise DatasetError(f"{file} is damaged, delete it and run its node again: {error}") from error

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.store.address}
