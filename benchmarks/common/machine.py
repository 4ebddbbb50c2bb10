"""The machine: what it is, and how much memory a process of it uses."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ours


def facts(device: torch.device) -> dict[str, Any]:
    """Return everything about the machine that a number depends on."""
    found = {
        "device": str(device),
        "name": processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "has_native_bf16": ours.has_native_bf16(device),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
    }
    if device.type != "cuda":
        return found
    card = torch.cuda.get_device_properties(device)
    return found | {
        "name": card.name,
        "gibibytes": card.total_memory / 2**30,
        "multiprocessors": card.multi_processor_count,
        "driver": _first_line(Path("/proc/driver/nvidia/version")),  # torch does not know it
    }


def describe(device: torch.device) -> str:
    """Return the machine in a line: processor, threads, versions, precision."""
    about = facts(device)
    precision = "bf16" if about["has_native_bf16"] else "fp32"
    return f"{about['name']}, {about['threads']} threads, torch {about['torch']}, Python {about['python']}, {precision}"


def processor() -> str:
    """Return the name of the processor."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def resident_peak(process: int | str = "self", *, reset: bool = False) -> float:
    """Return the peak memory of a process in bytes, NaN without Linux; with `reset`, start again from its present."""
    about = Path(f"/proc/{process}")
    if not (about / "status").exists():
        return math.nan
    if reset:
        (about / "clear_refs").write_text("5", encoding="ascii")
    lines = (about / "status").read_text(encoding="utf-8").splitlines()
    return float(next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")))


def _first_line(file: Path) -> str | None:
    return file.read_text(encoding="ascii").partition("\n")[0] if file.exists() else None
