"""Places: where a node can compute, one entry for every device that a run may use."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache

from knowledge_transfer.learning.hardware import numbers_in, resolve_device

CPU = "cpu"
_LEAST_FREE = 2 * 1024**3  # bytes, below which not even a small student can be trained
# A device that cannot even be asked is as good as full.
_PROBE = """
import sys, torch
for index in map(int, sys.argv[1:]):
    try:
        print(index, torch.cuda.mem_get_info(index)[0])
    except RuntimeError:
        print(index, 0)
"""


@dataclass(frozen=True)
class Place:
    """A device, or as much of the CPU as one process gets.

    `name` is what people read; `visible` the CUDA_VISIBLE_DEVICES of processes on it: no other device exists there.
    """

    name: str
    visible: str = ""

    @property
    def is_gpu(self) -> bool:
        """Whether processes on it see a GPU."""
        return bool(self.visible)


def processors(count: int) -> tuple[Place, ...]:
    """Return places for `count` processes side by side on the CPU."""
    return tuple(Place(f"cpu:{number}") for number in range(count))


def gpus(choice: str) -> tuple[Place, ...]:
    """Return the places of the GPUs that `devices` asks for: none for the CPU, and for auto where there is no GPU.

    With auto, GPUs that others have filled are left out. Raises ValueError, saying what there is, for a GPU that does
    not exist or is full.
    """
    numbers, everything = numbers_in(choice), choice in ("auto", "cuda")
    if not numbers and resolve_device(choice).type != "cuda":
        return ()
    present = _tokens()
    if not numbers:
        numbers = tuple(range(len(present))) if everything else (resolve_device(choice).index or 0,)
    for number in numbers:
        if number >= len(present):
            have = f"{len(present)} GPUs, numbered from 0" if present else "no GPU"
            raise ValueError(f"devices: there is no GPU {number}, this machine has {have}: set devices to auto")
    free = free_memory(numbers)
    full = {number for number in numbers if free.get(number, _LEAST_FREE) < _LEAST_FREE}
    if full and (not everything or len(full) == len(numbers)):
        told = ", ".join(f"GPU {number} ({free[number] / 1024**3:.1f} GiB free)" for number in sorted(full))
        raise ValueError(f"devices: {told} is full: wait for whoever uses it, or name others in devices")
    return tuple(Place(f"cuda:{number}", present[number]) for number in numbers if number not in full)


def _tokens() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES calls each GPU that this process sees, in the order of their numbers."""
    # Importing torch takes seconds, and not every command that reads this module runs something.
    import torch

    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.replace(" ", "").split(",")[:count] if given else [str(number) for number in range(count)]


@cache
def free_memory(numbers: tuple[int, ...]) -> dict[int, int]:
    """Return the free bytes of each of these GPUs, as they were when a run first asked.

    Raises ValueError where torch cannot use GPUs at all.
    """
    # Asked in a process that ends: asking takes some hundred MiB of every device for as long as the process lives.
    try:
        command = [sys.executable, "-c", _PROBE, *map(str, numbers)]
        told = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except subprocess.SubprocessError as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        raise ValueError(f"devices: a GPU cannot be used: {reason}") from error
    return {int(line.split()[0]): int(line.split()[1]) for line in told.stdout.splitlines()}
