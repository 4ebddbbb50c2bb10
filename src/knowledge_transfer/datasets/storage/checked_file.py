"""Datasets of one checked safetensors file: tensors and facts about them, every bit of which is checked at reading."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import struct
import sys
from pathlib import Path
from typing import Any, Generic, TypeVar

import safetensors.torch
import torch
from kedro.io.core import DatasetError
from torch import Tensor

from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.learning.models.network import weights_sha256

_Value = TypeVar("_Value")
_TYPES = {"U8": torch.uint8, "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
# A file larger than memory may be mapped although no memory is set aside for it; other systems set none aside.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


class CheckedFile(Generic[_Value]):
    """Mixin of a Kedro dataset at `filepath`: a subclass turns its value into tensors and facts, and back.

    A file that cannot be loaded does not exist for `--only-missing-outputs`: its node makes it again.
    """

    def __init__(
        self, *, filepath: str, credentials: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self.store = Store.at(filepath, credentials)
        self.metadata = metadata

    def to_tensors(self, data: _Value) -> tuple[dict[str, Tensor], str]:
        """Return the tensors of `data` and the facts about them."""
        raise NotImplementedError

    def from_tensors(self, tensors: dict[str, Tensor], facts: str) -> _Value:
        """Return the value. Raises an error of Python's own when tensors and facts are not such a value's."""
        raise NotImplementedError

    def load(self) -> _Value:
        """Return the value. Raises DatasetError, naming the file, when it is missing or a bit is not as saved."""
        return self._read()

    def save(self, data: _Value) -> None:
        """Write the value. Raises DatasetError when the disk is full."""
        self.store.write(save(*self.to_tensors(data)))

    def _read(self) -> _Value:
        try:
            local = self.store.local()
            loaded = load(self.store.read()) if local is None else load_file(local)
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


def save(tensors: dict[str, Tensor], facts: str) -> bytes:
    """Return a safetensors file of `tensors` whose header holds the text `facts` and a hash of both."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(whole, {"facts": facts, "sha256": _digest(whole, facts)})


def load(data: bytes) -> tuple[dict[str, Tensor], str]:
    """Return (tensors, facts). Raises ValueError unless every bit is as it was saved."""
    return _parsed(bytearray(data))


def load_file(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return (tensors, facts) of a file on a local disk, memory-mapped: processes share its pages.

    Changes to a tensor do not reach the file. Raises ValueError unless every bit is as it was saved.
    """
    # Not the library's own mapping: it may be written to, so the system sets memory aside for all of it, or refuses.
    access = {"flags": mmap.MAP_PRIVATE | _NO_RESERVE, "prot": mmap.PROT_READ | mmap.PROT_WRITE}
    with path.open("rb") as file:
        return _parsed(mmap.mmap(file.fileno(), 0, **access))


def _parsed(data: bytearray | mmap.mmap) -> tuple[dict[str, Tensor], str]:
    try:
        (length,) = struct.unpack("<Q", data[:8])
        if length > len(data) - 8:
            raise ValueError("it ends in its header")
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__")
        facts, sha256 = str(metadata["facts"]), metadata["sha256"]
        tensors = {name: _tensor(data, 8 + length, **entry) for name, entry in header.items()}
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError, struct.error) as error:
        raise ValueError(f"not a file of this project: {type(error).__name__} {error}") from error
    if _digest(tensors, facts) != sha256:
        raise ValueError("its sha256 is not the one it was written with")
    return tensors, facts


def _tensor(
    data: bytearray | mmap.mmap, start: int, *, dtype: str, shape: list[int], data_offsets: list[int]
) -> Tensor:
    kind = _TYPES[dtype]
    first, end = data_offsets
    if math.prod(shape) * kind.itemsize != end - first or start + end > len(data):
        raise ValueError("it ends before its tensors do")
    if first == end:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(data, dtype=kind, count=math.prod(shape), offset=start + first).view(shape)


def _digest(tensors: dict[str, Tensor], facts: str) -> str:
    return hashlib.sha256(f"{weights_sha256(tensors)} {facts}".encode()).hexdigest()
