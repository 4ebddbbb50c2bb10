"""Files of exported models, side by side in a folder."""

from __future__ import annotations

from typing import Any

from kedro.io import AbstractDataset

from knowledge_transfer.datasets.storage.store import Store


class ExportedModelsDataset(AbstractDataset[dict[str, bytes], dict[str, bytes]]):
    """Files by name below the folder `filepath`, each written whole or not at all; other files there are left alone."""

    def __init__(
        self,
        *,
        filepath: str,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._folder, self._credentials, self.metadata = filepath.rstrip("/"), credentials, metadata
        self._names: tuple[str, ...] = ()

    def save(self, data: dict[str, bytes]) -> None:
        """Write the files."""
        for name, content in data.items():
            self._store(name).write(content)
        self._names = tuple(data)

    def load(self) -> dict[str, bytes]:
        """Return the files that this process has written."""
        return {name: self._store(name).read() for name in self._names}

    def _store(self, name: str) -> Store:
        return Store.at(f"{self._folder}/{name}", self._credentials)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._folder}
