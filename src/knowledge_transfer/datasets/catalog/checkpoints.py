"""Several checkpoints in one safetensors file: the members that were trained together are kept together."""

from __future__ import annotations

import json
from typing import Any

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError
from torch import Tensor

from knowledge_transfer.datasets.storage.safetensors import seal, unseal
from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.learning.checkpoint import Checkpoint, Facts


class CheckpointsDataset(AbstractDataset[list[Checkpoint], list[Checkpoint]]):
    """Checkpoints in their order, each tensor under `<position>/<name>`, their facts in the header.

    A file that cannot be loaded does not exist for `--only-missing-outputs`.
    """

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.store = Store.at(filepath, credentials)
        self.metadata = metadata

    def load(self) -> list[Checkpoint]:
        """Return the checkpoints. Raises DatasetError, naming the file, unless every one of them is as saved."""
        return self._read()

    def save(self, data: list[Checkpoint]) -> None:
        """Write them. Raises DatasetError when facts name another hash than the weights have, or the disk is full."""
        for checkpoint in data:
            if checkpoint.sha256 != checkpoint.facts.sha256:
                raise DatasetError(f"the facts of {checkpoint.facts.key} name another sha256 than its weights have")
        tensors = {
            f"{position}/{name}": tensor
            for position, checkpoint in enumerate(data)
            for name, tensor in checkpoint.state.items()
        }
        facts = [checkpoint.facts.model_dump(mode="json") for checkpoint in data]
        self.store.write(seal(tensors, json.dumps(facts)))

    def _exists(self) -> bool:
        # Not load, where Kedro makes this error of a lost connection too: what is there would be made again.
        try:
            self._read()
        except DatasetError:
            return False
        return True

    def _read(self) -> list[Checkpoint]:
        content = self.store.read()
        try:
            tensors, told = unseal(content)
            states: list[dict[str, Tensor]] = [{} for _ in json.loads(told)]
            for key, tensor in tensors.items():
                position, _, name = key.partition("/")
                states[int(position)][name] = tensor
            facts = [Facts(**each) for each in json.loads(told)]
        except (IndexError, TypeError, ValueError) as error:
            raise DatasetError(f"{self.store.address} is damaged, delete it and run its node again: {error}") from error
        checkpoints = [Checkpoint(*each) for each in zip(facts, states, strict=True)]
        for checkpoint in checkpoints:
            if checkpoint.sha256 != checkpoint.facts.sha256:
                raise DatasetError(f"{self.store.address}: {checkpoint.facts.key} has other weights than its facts say")
        return checkpoints

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.store.address}
