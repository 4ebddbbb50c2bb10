"""Files that count only when they were written to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from knowledge_transfer.datasets.storage.store import Store

if TYPE_CHECKING:
    from kedro.io import AbstractDataset


class WholeFile:
    """Mixin of a Kedro dataset: for `--only-missing-outputs` an empty or damaged file is missing."""

    @staticmethod
    def is_whole(content: bytes) -> bool:
        """Return whether a file of that content was written to its end."""
        raise NotImplementedError

    def _exists(self) -> bool:
        store = Store.of(cast("AbstractDataset[Any, Any]", self))
        return store is not None and store.exists() and self.is_whole(store.read())
