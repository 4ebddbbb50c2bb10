"""The file of a checkpoint, or of several: safetensors, facts and learning curves in its header, never a pickle."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.models.network import weights_sha256

Read = Callable[[int, int | None], bytes]  # the bytes of a file from a position to another, None for its end
_LONGEST_HEADER = 100 * 2**20  # bytes; the library refuses a longer one


def dump(checkpoints: Sequence[Checkpoint], *, single: bool) -> bytes:
    """Return a safetensors file of the checkpoints, each tensor under `<position>/<name>`, of a `single` one `<name>`.

    Raises ValueError when facts name another hash than the weights have.
    """
    tensors: dict[str, Tensor] = {}
    entries = []
    for position, checkpoint in enumerate(checkpoints):
        facts, prefix = checkpoint.facts, "" if single else f"{position}/"
        if weights_sha256(checkpoint.state) != facts.sha256:
            raise ValueError(f"the facts of {facts.key} name another sha256 than its weights have: not saved")
        tensors |= {f"{prefix}{name}": tensor.detach().cpu().contiguous() for name, tensor in checkpoint.state.items()}
        entries.append({"prefix": prefix, "facts": facts.model_dump(mode="json"), "curve": list(checkpoint.curve)})
    text = json.dumps(entries)
    return safetensors.torch.save(tensors, {"checkpoints": text, "sha256": _sha256(text)})


def parse(read: Read, where: str) -> list[Checkpoint]:
    """Return the checkpoints of a file called `where`. Weights are read and checked when they are first used.

    Raises ValueError, naming the file, for a damaged header, and at that first use for other weights than facts name.
    """
    try:
        (length,) = struct.unpack("<Q", read(0, 8))
        if length > _LONGEST_HEADER:
            raise ValueError("it ends in its header")
        header = json.loads(read(8, 8 + length))["__metadata__"]
        if "facts" in header:
            raise ValueError("an earlier version of the project wrote it")
        if _sha256(header["checkpoints"]) != header["sha256"]:
            raise ValueError("its header is not the one it was written with")
        entries = json.loads(header["checkpoints"])
        facts = [Facts(**entry["facts"]) for entry in entries]
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise _damaged(where, f"{type(error).__name__} {error}") from error
    tensors = _Tensors(read, where)
    return [
        Checkpoint(each, _Weights(tensors, entry["prefix"], each), tuple(entry["curve"]))
        for each, entry in zip(facts, entries, strict=True)
    ]


def load(path: str | Path) -> Checkpoint:
    """Return the checkpoint in a file on a local disk.

    Raises ValueError, naming the file, when it is damaged or holds several checkpoints, and FileNotFoundError.
    """
    content = Path(path).read_bytes()
    checkpoints = parse(lambda start, end: content[start:end], str(path))
    if len(checkpoints) != 1:
        raise ValueError(f"{path} holds {len(checkpoints)} checkpoints, not one")
    # A plain state dict, which is read and checked now, and can be pickled.
    return replace(checkpoints[0], state=dict(checkpoints[0].state))


class _Tensors:
    """All tensors of a file, read once."""

    def __init__(self, read: Read, where: str) -> None:
        self._read, self.where = read, where

    @cached_property
    def by_name(self) -> dict[str, Tensor]:
        try:
            return safetensors.torch.load(self._read(0, None))
        except SafetensorError as error:
            raise _damaged(self.where, str(error)) from error


class _Weights(Mapping[str, Tensor]):
    """The state dict of one checkpoint in a file."""

    def __init__(self, tensors: _Tensors, prefix: str, facts: Facts) -> None:
        self._tensors, self._prefix, self._facts = tensors, prefix, facts

    @cached_property
    def _state(self) -> dict[str, Tensor]:
        prefix = self._prefix
        named = self._tensors.by_name.items()
        state = {name.removeprefix(prefix): tensor for name, tensor in named if name.startswith(prefix)}
        if weights_sha256(state) != self._facts.sha256:
            raise _damaged(
                self._tensors.where,
                f"the weights of {self._facts.key} are not those that its facts name, or the file has just changed",
            )
        return state

    def __getitem__(self, name: str) -> Tensor:
        return self._state[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _damaged(where: str, why: str) -> ValueError:
    return ValueError(f"{where} is damaged, delete it and run its node again: {why}")
