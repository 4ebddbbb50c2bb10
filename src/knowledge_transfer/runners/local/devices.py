"""The devices of this machine, and which of them a run may use."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from knowledge_transfer.learning.hardware import numbers_in, resolve_device

CPU = "cpu"
DEVICE = "KNOWLEDGE_TRANSFER_DEVICE"  # names the devices of a process that runs nodes for a driver elsewhere
_LEAST_FREE = 2 * 1024**3  # bytes; a small student needs more
# A device without an answer counts as full.
_PROBE = """
import sys, torch
for index in map(int, sys.argv[1:]):
    try:
        print(index, torch.cuda.mem_get_info(index)[0])
    except RuntimeError:
        print(index, 0)
"""


@dataclass(frozen=True)
class Device:
    """A GPU, or one process's part of the CPU; `visible` is the CUDA_VISIBLE_DEVICES of processes on it."""

    name: str
    visible: str = ""

    @property
    def is_gpu(self) -> bool:
        """Whether processes on it see a GPU."""
        return bool(self.visible)


def assigned_device() -> str | None:
    """Return the names of the devices that the driver gave to this process; none in the driver itself."""
    return os.environ.get(DEVICE)


def processors(count: int) -> tuple[Device, ...]:
    """Return devices for `count` processes side by side on the CPU."""
    return tuple(Device(f"cpu:{number}") for number in range(count))


def gpus(choice: str) -> tuple[Device, ...]:
    """Return the GPUs of the parameter `devices`: () for the CPU; with auto, only those with free memory.

    Raises ValueError for a GPU that does not exist or is full.
    """
    numbers, everything = numbers_in(choice), choice in ("auto", "cuda")
    if not numbers and resolve_device(choice).type != "cuda":
        return ()
    present = _visible_names()
    if not numbers:
        numbers = tuple(range(len(present))) if everything else (resolve_device(choice).index or 0,)
    for number in numbers:
        if number >= len(present):
            have = f"{len(present)} GPUs, numbered from 0" if present else "no GPU"
            raise ValueError(f"devices: there is no GPU {number}, this machine has {have}: set devices to auto")
    free = free_memory(numbers)
    full = {number for number in numbers if free.get(number, _LEAST_FREE) < _LEAST_FREE}
    if full and (not everything or len(full) == len(numbers)):
        names = ", ".join(f"GPU {number} ({free[number] / 1024**3:.1f} GiB free)" for number in sorted(full))
        raise ValueError(f"devices: {names} is full: wait until it is free, or name others in devices")
    return tuple(Device(f"cuda:{number}", present[number]) for number in numbers if number not in full)


def _visible_names() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES calls each GPU that this process sees, in the order of their numbers."""
    # Imported late: torch takes seconds, and not every command needs it.
    import torch

    count = torch.cuda.device_count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.replace(" ", "").split(",")[:count] if given else [str(number) for number in range(count)]


@cache
def free_memory(numbers: tuple[int, ...]) -> dict[int, int]:
    """Return the free bytes of each of these GPUs at the start of a run. Raises ValueError if torch cannot use GPUs."""
    # In a process of its own: the query occupies some hundred MiB of every device until its process ends.
    try:
        command = [sys.executable, "-c", _PROBE, *map(str, numbers)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    except subprocess.SubprocessError as error:
        reason = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        raise ValueError(f"devices: a GPU cannot be used: {reason}") from error
    return {int(line.split()[0]): int(line.split()[1]) for line in output.splitlines()}


@dataclass
class Allocator:
    """Devices, each shared by up to `per_device` nodes; a node on several shares none."""

    devices: Sequence[Device]
    per_device: int = 1
    used: dict[Device, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.used = dict.fromkeys(self.devices, 0)

    @property
    def capacity(self) -> int:
        """The largest number of nodes of one device each at the same time."""
        return len(self.devices) * self.per_device

    def has_capacity(self, count: int) -> bool:
        """Return whether a node on so many devices can start now."""
        return self._fitting(count) is not None

    def take(self, count: int) -> tuple[Device, ...]:
        """Return the least used devices, and count them as used. Raises ValueError if too few are free."""
        chosen = self._fitting(count)
        if chosen is None:
            raise ValueError(f"{count} devices needed, too few free of {len(self.devices)}")
        for device in chosen:
            self.used[device] += self._load(count)
        return chosen

    def give_back(self, devices: Sequence[Device]) -> None:
        """Count devices of one `take` as free again."""
        for device in devices:
            self.used[device] -= self._load(len(devices))

    def _load(self, count: int) -> int:
        return 1 if count == 1 else self.per_device

    def _fitting(self, count: int) -> tuple[Device, ...] | None:
        fitting = [device for device in self.devices if self.used[device] + self._load(count) <= self.per_device]
        # Sorting keeps the order of the machine among equals.
        fitting.sort(key=lambda device: self.used[device])
        return tuple(fitting[:count]) if len(fitting) >= count else None
