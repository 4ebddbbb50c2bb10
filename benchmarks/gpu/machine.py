"""The machine: what it is, and how fast it multiplies matrices; everything else is told as a share of that."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import torch
import torchvision

from benchmarks.gpu.bench import Bench, Rows
from benchmarks.gpu.measure import matmul_rate
from knowledge_transfer.learning.hardware import has_native_bf16


def rows(bench: Bench) -> Rows:
    """Yield what the machine is, then its rates of matrix products in multiply-adds per second."""
    yield "facts", lambda: _facts(bench.device)
    yield "bf16", lambda: {"rate": matmul_rate(bench.device, torch.bfloat16, bench.sizes.product)}
    yield "fp32", lambda: {"rate": _fp32_rate(bench, "highest")}
    yield "tf32", lambda: {"rate": _fp32_rate(bench, "high")}


def _fp32_rate(bench: Bench, precision: str) -> float:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        return matmul_rate(bench.device, torch.float32, bench.sizes.product)
    finally:
        torch.set_float32_matmul_precision(before)


def _facts(device: torch.device) -> dict[str, Any]:
    facts = {
        "device": str(device),
        "name": platform.processor() or platform.machine(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "has_native_bf16": has_native_bf16(device),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
    }
    if device.type != "cuda":
        return facts
    card = torch.cuda.get_device_properties(device)
    return facts | {
        "name": card.name,
        "gibibytes": card.total_memory / 2**30,
        "multiprocessors": card.multi_processor_count,
        "driver": _driver(),
    }


def _driver() -> str | None:
    """Return the version of NVIDIA's kernel driver, which torch does not tell; none where the system does not."""
    try:
        with open("/proc/driver/nvidia/version", encoding="ascii") as file:  # noqa: PTH123 - a name of the kernel's
            return file.readline().strip()
    except OSError:
        return None
