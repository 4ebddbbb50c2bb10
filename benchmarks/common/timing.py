"""Clocks for a device that works behind the program, rates of matrix products, and profiles."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

_TOP, _NAME = 10, 100
_REGIONS = ("ProfilerStep", "Optimizer.")  # spans around kernels, which would be counted twice


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def now(device: torch.device) -> float:
    """Return the clock's seconds after the device has finished all its work."""
    synchronise(device)
    return time.perf_counter()


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return how long one call of `work` takes, the device's part included."""
    began = now(device)
    work()
    return now(device) - began


def median_seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median duration of `repeats` calls of `work`, none of them the first."""
    work()
    return statistics.median(seconds_of(work, device) for _ in range(repeats))


def steps_of(step: Callable[[], object], count: int) -> Callable[[], None]:
    """Return a function that takes `count` steps in a row without waiting for the device in between."""

    def take() -> None:
        for _ in range(count):
            step()

    return take


@contextmanager
def compiled_anew() -> Iterator[None]:
    """Compile without the caches of earlier runs and of other variants of a network; forget the result afterwards."""
    with torch.compiler.config.patch(force_disable_caches=True), warnings.catch_warnings():  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", message="dynamo_pgo force disabled")
        try:
            yield
        finally:
            torch.compiler.reset()


def rates_in_turn(
    sides: Mapping[str, tuple[int, Callable[[], object]]], device: torch.device, repeats: int, seconds: float
) -> dict[str, list[float]]:
    """Return the rates per second of every side, which take turns: each side is the count of a call, and the call.

    Every reading covers as many calls as fill `seconds`, one at least. Each side has a warm-up.
    """
    calls = {name: max(1, round(seconds / median_seconds(work, device, 1))) for name, (_, work) in sides.items()}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, (count, work) in sides.items():
            rates[name].append(count * calls[name] / seconds_of(steps_of(work, calls[name]), device))
    return rates


def matmul_rate(device: torch.device, kind: torch.dtype, size: int, repeats: int = 5) -> float:
    """Return multiply-adds per second of a product of two matrices [size, size], the median of `repeats`."""
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    return size**3 / median_seconds(lambda: a @ b, device, repeats)


def peak_gibibytes(device: torch.device) -> float | None:
    """Return the peak memory of tensors since the last call, in GiB; None on the CPU, where torch does not count it."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated(device) / 2**30
    torch.cuda.reset_peak_memory_stats(device)
    return peak


def breakdown(step: Callable[[], object], device: torch.device) -> dict[str, Any]:
    """Return where the time of a step goes: `top` ten kernels (on the CPU operators) by share, and `busy`.

    `busy` is the time of all kernels over the wall time of a step without a profiler. For the rest of that time the GPU
    waits for the program. Raises RuntimeError when the profiler sees no kernel.
    """
    step()
    wall = seconds_of(step, device)
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as seen:
        step()
        synchronise(device)
    spent = {
        str(each.key)[:_NAME]: each.self_device_time_total if on_gpu else each.self_cpu_time_total
        for each in seen.key_averages()
        if _counts(each, on_gpu)
    }
    total = sum(spent.values())
    if not total:
        raise RuntimeError("the profiler saw no kernel: it may lack the right to read the GPU's counters")
    ranked = sorted(spent.items(), key=lambda item: -item[1])[:_TOP]
    return {"top": {name: time_ / total for name, time_ in ranked}, "busy": total / 1e6 / wall, "kernels": len(spent)}


def _counts(event: FunctionEventAvg, on_gpu: bool) -> bool:
    # Operators are credited with their kernels' time as well: on a GPU the kernels alone are counted.
    wanted = DeviceType.CUDA if on_gpu else DeviceType.CPU
    return event.device_type == wanted and not event.is_user_annotation and not str(event.key).startswith(_REGIONS)
