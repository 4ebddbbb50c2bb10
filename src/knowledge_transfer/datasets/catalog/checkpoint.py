"""Trained models in the catalog: weights, facts and learning curve in one safetensors file, never a pickle."""

from __future__ import annotations

from typing import Any

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError

from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.checkpoint_file import dump, parse

Checkpoints = Checkpoint | list[Checkpoint]


class CheckpointDataset(AbstractDataset[Checkpoints, Checkpoints]):
    """The checkpoint in a file, or those of `several` members that were trained together, in their order.

    Loading reads the facts and the learning curve alone; weights are read and checked when they are used. A damaged
    file does not exist for `--only-missing-outputs`, so it is made again.
    """

    def __init__(
        self,
        *,
        filepath: str,
        several: bool = False,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.store = Store.at(filepath, credentials)
        self._several = several
        self.metadata = metadata

    def load(self) -> Checkpoints:
        """Return the checkpoint, or the list of `several`. Raises DatasetError, naming the file, for a damaged one."""
        found = self._read()
        return found if self._several else found[0]

    def save(self, data: Checkpoints) -> None:
        """Write the checkpoint. Raises DatasetError when its facts name other weights, or the disk is full."""
        try:
            content = dump(data if isinstance(data, list) else [data], single=not self._several)
        except ValueError as error:
            raise DatasetError(str(error)) from error
        self.store.write(content)

    def _exists(self) -> bool:
        # Not `load`: Kedro turns a lost connection into the same error, and an intact file would be made again.
        try:
            for checkpoint in self._read():
                len(checkpoint.state)  # reads and checks the weights
        except (DatasetError, ValueError):
            return False
        return True

    def _read(self) -> list[Checkpoint]:
        try:
            found = parse(self.store.read, self.store.address)
        except ValueError as error:
            raise DatasetError(str(error)) from error
        if not self._several and len(found) != 1:
            raise DatasetError(f"{self.store.address} holds {len(found)} checkpoints, not one")
        return found

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.store.address}
