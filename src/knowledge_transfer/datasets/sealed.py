"""Tensors and the facts about them in one safetensors file, of which every bit is checked when it is read."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from knowledge_transfer.learning.checkpoint import weights_sha256


def seal(tensors: dict[str, Tensor], facts: str) -> bytes:
    """Return a safetensors file of `tensors` whose header holds the text `facts` and a hash of both."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(whole, {"facts": facts, "sha256": _digest(whole, facts)})


def unseal(data: bytes) -> tuple[dict[str, Tensor], str]:
    """Return (tensors, facts). Raises ValueError unless they are, bit for bit, what was sealed."""
    try:
        tensors = safetensors.torch.load(data)
        # The library gives this text for files on a local disk alone, not for bytes.
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])["__metadata__"]
        facts, sha256 = str(header["facts"]), header["sha256"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _foreign(error) from error
    return _checked(tensors, facts, sha256)


def unseal_file(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return (tensors, facts) of a file on a local disk, its tensors memory-mapped: what is not used takes no memory.

    Every byte is read once, to be checked. Whoever changes a tensor changes it in memory alone. Raises ValueError
    unless they are, bit for bit, what was sealed.
    """
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata()
            facts, sha256 = header["facts"], header["sha256"]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _foreign(error) from error
    return _checked(tensors, facts, sha256)


def _foreign(error: Exception) -> ValueError:
    return ValueError(f"not a file of this project: {type(error).__name__} {error}")


def _checked(tensors: dict[str, Tensor], facts: str, sha256: str) -> tuple[dict[str, Tensor], str]:
    if _digest(tensors, facts) != sha256:
        raise ValueError("its sha256 is not the one it was written with")
    return tensors, facts


def _digest(tensors: dict[str, Tensor], facts: str) -> str:
    return hashlib.sha256(f"{weights_sha256(tensors)} {facts}".encode()).hexdigest()
