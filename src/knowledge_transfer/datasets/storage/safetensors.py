"""Checked safetensors: tensors and the facts about them in one file whose every bit is checked at reading."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import struct
import sys
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from knowledge_transfer.learning.models.weights import weights_sha256

_KINDS = {"U8": torch.uint8, "I64": torch.int64, "F16": torch.float16, "F32": torch.float32}
# A file larger than memory may be mapped although no memory is set aside for it; other systems set none aside.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


def save(tensors: dict[str, Tensor], facts: str) -> bytes:
    """Return a safetensors file of `tensors` whose header holds the text `facts` and a hash of both."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(whole, {"facts": facts, "sha256": _digest(whole, facts)})


def load(data: bytes) -> tuple[dict[str, Tensor], str]:
    """Return (tensors, facts). Raises ValueError unless every bit is as it was saved."""
    try:
        tensors = safetensors.torch.load(data)
        # The library gives this text for files on a local disk alone, not for bytes.
        _, facts, sha256, _ = _header(data)
    except (SafetensorError, KeyError, TypeError, ValueError, struct.error) as error:
        raise _foreign(error) from error
    return _checked(tensors, facts, sha256)


def load_file(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return (tensors, facts) of a file on a local disk, its tensors memory-mapped: what is not used takes no memory.

    Every byte is read once, to be checked. Changes to a tensor stay in memory and do not reach the file. Raises
    ValueError unless every bit is as it was saved.
    """
    # Not the library's own mapping: it may be written to, so the system sets memory aside for all of it, or refuses.
    with path.open("rb") as file:
        mapped = mmap.mmap(
            file.fileno(), 0, flags=mmap.MAP_PRIVATE | _NO_RESERVE, prot=mmap.PROT_READ | mmap.PROT_WRITE
        )
    try:
        entries, facts, sha256, start = _header(mapped)
        tensors = {name: _tensor(mapped, start, **entry) for name, entry in entries.items()}
    except (KeyError, TypeError, ValueError, RuntimeError, struct.error) as error:
        raise _foreign(error) from error
    return _checked(tensors, facts, sha256)


def _header(data: bytes | mmap.mmap) -> tuple[dict[str, Any], str, str, int]:
    """Return the entry of each tensor, the facts, the hash of both, and the offset at which the tensors begin."""
    (length,) = struct.unpack("<Q", data[:8])
    if length > len(data) - 8:
        raise ValueError("it ends in its header")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    return header, str(metadata["facts"]), metadata["sha256"], 8 + length


def _tensor(mapped: mmap.mmap, start: int, *, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    kind = _KINDS[dtype]
    first, end = data_offsets
    if math.prod(shape) * kind.itemsize != end - first or start + end > len(mapped):
        raise ValueError("it ends before its tensors do")
    if first == end:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(mapped, dtype=kind, count=math.prod(shape), offset=start + first).view(shape)


def _foreign(error: Exception) -> ValueError:
    return ValueError(f"not a file of this project: {type(error).__name__} {error}")


def _checked(tensors: dict[str, Tensor], facts: str, sha256: str) -> tuple[dict[str, Tensor], str]:
    if _digest(tensors, facts) != sha256:
        raise ValueError("its sha256 is not the one it was written with")
    return tensors, facts


def _digest(tensors: dict[str, Tensor], facts: str) -> str:
    return hashlib.sha256(f"{weights_sha256(tensors)} {facts}".encode()).hexdigest()
