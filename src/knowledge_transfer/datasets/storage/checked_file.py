"""What the datasets share whose value is one checked safetensors file."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from kedro.io.core import DatasetError
from torch import Tensor

from knowledge_transfer.datasets.storage import safetensors
from knowledge_transfer.datasets.storage.store import Store

_Value = TypeVar("_Value")


class CheckedFile(Generic[_Value]):
    """Mixin of a Kedro dataset at `filepath`: a subclass turns its value into tensors and facts, and back.

    A file that cannot be loaded does not exist for `--only-missing-outputs`: its node makes it again. From a local disk
    it is memory-mapped: processes side by side share its pages, and it may be larger than memory.
    """

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.store = Store.at(filepath, credentials)
        self.metadata = metadata

    def to_tensors(self, data: _Value) -> tuple[dict[str, Tensor], str]:
        """Return the tensors of `data` and the facts about them. Raises DatasetError when the two contradict."""
        raise NotImplementedError

    def from_tensors(self, tensors: dict[str, Tensor], facts: str) -> _Value:
        """Return the value. Raises an error of Python's own when tensors and facts are not such a value's."""
        raise NotImplementedError

    def load(self) -> _Value:
        """Return the value. Raises DatasetError, naming the file, when it is missing or a bit is not as saved."""
        return self._read()

    def save(self, data: _Value) -> None:
        """Write the value. Raises DatasetError when the disk is full."""
        self.store.write(safetensors.save(*self.to_tensors(data)))

    def _read(self) -> _Value:
        try:
            local = self.store.local()
            loaded = safetensors.load(self.store.read()) if local is None else safetensors.load_file(local)
            return self.from_tensors(*loaded)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            file = self.store.address
            raise DatasetError(f"{file} is damaged, delete it and run its node again: {error}") from error

    def _exists(self) -> bool:
        # Not `load`: Kedro turns a lost connection into the same error, and an intact file would be made again.
        try:
            self._read()
        except DatasetError:
            return False
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.store.address}
