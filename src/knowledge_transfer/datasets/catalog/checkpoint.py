"""Checkpoints in the catalog: a safetensors file of weights and a JSON sidecar of facts, never a pickle."""

from __future__ import annotations

import json
from typing import Any

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError

from knowledge_transfer.datasets.storage.safetensors import seal, unseal
from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.learning.checkpoint import Checkpoint, Facts


class CheckpointDataset(AbstractDataset[Checkpoint, Checkpoint]):
    """`filepath` holds the weights, the same name with `.json` their facts.

    The weights' file repeats the facts, so that neither can be changed or swapped alone. A checkpoint that cannot be
    loaded does not exist, as far as Kedro is concerned: `--only-missing-outputs` makes it again.
    """

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.store = Store.at(filepath, credentials)
        self._sidecar = self.store.beside(".json")
        if self._sidecar.path == self.store.path:
            raise DatasetError(f"{filepath} is the name of the facts: call the weights .safetensors")
        self.metadata = metadata

    def load(self) -> Checkpoint:
        """Return the checkpoint. Raises DatasetError, naming the file, unless weights and facts are as saved."""
        return self._read()

    def save(self, data: Checkpoint) -> None:
        """Write the weights, then the facts: the facts vouch for weights that are already there.

        Raises DatasetError when the facts name another hash than that of the weights, or the disk is full.
        """
        if data.sha256 != data.facts.sha256:
            raise DatasetError(f"the facts of {data.facts.key} name another sha256 than its weights have: not saved")
        self.store.write(seal(data.state, data.facts.model_dump_json()))
        self._sidecar.write(data.facts.model_dump_json(indent=2).encode())

    def _exists(self) -> bool:
        # Not load, where Kedro makes this error of a lost connection too: what is there would be made again.
        try:
            self._read()
        except DatasetError:
            return False
        return True

    def _read(self) -> Checkpoint:
        file = self._sidecar
        try:
            told = json.loads(file.read())
            facts = Facts(**told)
            file = self.store
            tensors, sealed = unseal(file.read())
        except (ValueError, TypeError) as error:
            raise DatasetError(f"{file.address} is damaged, delete it and run its node again: {error}") from error
        checkpoint = Checkpoint(facts, tensors)
        if checkpoint.sha256 != facts.sha256 or json.loads(sealed) != told:
            raise DatasetError(
                f"{self._sidecar.address} is damaged or speaks of other weights than {self.store.address}: "
                "delete both and run their node again"
            )
        return checkpoint

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.store.address}
