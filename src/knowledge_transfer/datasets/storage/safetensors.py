"""Checked safetensors: tensors and the facts about them in one file whose every bit is checked at reading."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import struct
import sys
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from knowledge_transfer.learning.models.network import weights_sha256

_TYPES = {"U8": torch.uint8, "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
# A file larger than memory may be mapped although no memory is set aside for it; other systems set none aside.
_NO_RESERVE = 0x4000 if sys.platform == "linux" else 0


def save(tensors: dict[str, Tensor], facts: str) -> bytes:
    """Return a safetensors file of `tensors` whose header holds the text `facts` and a hash of both."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(whole, {"facts": facts, "sha256": _digest(whole, facts)})


def load(data: bytes) -> tuple[dict[str, Tensor], str]:
    """Return (tensors, facts). Raises ValueError unless every bit is as it was saved."""
    return _parsed(bytearray(data))


def load_file(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return (tensors, facts) of a file on a local disk, its tensors memory-mapped: what is not used takes no memory.

    Every byte is read once, to be checked. Changes to a tensor stay in memory and do not reach the file. Raises
    ValueError unless every bit is as it was saved.
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
