"""Files of exported models, side by side in a folder."""

from __future__ import annotations

from typing import Any

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError

from knowledge_transfer.datasets.storage.store import Store


class ExportedModelsDataset(AbstractDataset[dict[str, bytes], None]):
    """Files by name below the folder `filepath`, each written whole or not at all; other files there are left alone."""

    def __init__(
        self,
        *,
        filepath: str,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._credentials, self.metadata = credentials, metadata
        self._folder, self.store = filepath, Store.at(filepath, credentials)

    def save(self, data: dict[str, bytes]) -> None:
        """Write the files."""
        for name, content in data.items():
            Store.at(f"{self._folder}/{name}", self._credentials).write(content)

    def load(self) -> None:
        """Refuse: other programs read the files."""
        raise DatasetError(f"the exported models are for other programs: their files are in {self.store.address}")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._folder}
