"""The bare step, and what it gains from compilation, CUDA graphs, another optimizer, memory format or precision."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F

from benchmarks.common import ours
from benchmarks.common.bench import Bench, Rows
from benchmarks.common.timing import compiled_anew, peak_gibibytes, rates_in_turn, seconds_of, steps_of

_WARM_UP = 4  # steps, more than the capture of a graph needs


@dataclass(frozen=True)
class Variant:
    """Differences from the step that `Trainer` takes, which is the default.

    `compile` is a mode of torch.compile. Without `is_fused` torch chooses the optimizer: `foreach` on a GPU.
    """

    compile: str | None = None
    precision: Literal["auto", "fp32"] = "auto"
    channels_last: bool = True
    is_fused: bool = True
    cudnn_benchmark: bool = False


_ANYWHERE = {
    "eager": Variant(),
    "not_fused": Variant(is_fused=False),
    "contiguous": Variant(channels_last=False),
    "fp32": Variant(precision="fp32"),
    "compiled": Variant(compile="default"),
}
_ON_GPU = {"cudnn_benchmark": Variant(cudnn_benchmark=True), "graphs": Variant(compile="reduce-overhead")}


def bare_pass(
    shape: ours.Architecture,
    batch: int,
    device: torch.device,
    how: Variant = Variant(),
    *,
    with_optimizer: bool = False,
) -> Callable[[], None]:
    """Return a forward and backward pass of a fresh network on one batch of the device: the bound of every step."""
    layout = torch.channels_last if how.channels_last else torch.contiguous_format
    net = ours.network(shape).body.to(device).to(memory_format=layout).train()  # type: ignore[call-overload]
    forward = net if how.compile is None else torch.compile(net, mode=how.compile)
    sgd = {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4, "fused": how.is_fused}
    optimizer = torch.optim.SGD(net.parameters(), **sgd) if with_optimizer else None
    pixels = torch.randn(batch, 3, 32, 32, device=device).to(memory_format=layout)
    labels = torch.arange(batch, device=device) % 10

    def work() -> None:
        if how.compile == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        with ours.autocast(device, how.precision):
            logits = forward(pixels).float()
        net.zero_grad(set_to_none=True)
        F.cross_entropy(logits, labels).backward()
        if optimizer is not None:
            optimizer.step()

    return work


def rows(bench: Bench) -> Rows:
    """Yield a row for each variant and model: the variants that need no compiler first, for all models."""
    variants = _ANYWHERE | (_ON_GPU if bench.device.type == "cuda" else {})
    eager: dict[str, float] = {}
    for name, how in sorted(variants.items(), key=lambda item: item[1].compile is not None):
        for kind in bench.kinds:
            yield f"{kind}/{name}", partial(_row, bench, kind, how, eager)


def _row(bench: Bench, kind: str, how: Variant, eager: dict[str, float]) -> dict[str, Any]:
    """Return images per second, the ratio to `eager`, and the seconds of warm-up before the first step.

    `eager` holds each model's seconds a step; the variant of that name fills it in. After `pays_after` steps the gain
    equals `warm_up_seconds`; it is None where that never happens.
    """
    batch, device, sizes = bench.sizes.batches[0], bench.device, bench.sizes
    with _switches(how):
        step = bare_pass(bench.architecture(kind), batch, device, how, with_optimizer=True)
        first = seconds_of(steps_of(step, _WARM_UP), device)
        peak_gibibytes(device)  # starts the peak again
        rates = rates_in_turn({"step": (1, step)}, device, sizes.repeats, sizes.seconds)["step"]
    seconds = 1 / statistics.median(rates)
    reference = eager.setdefault(kind, seconds) if how == Variant() else eager.get(kind, math.nan)
    paid, gained = max(0.0, first - _WARM_UP * seconds), reference - seconds
    return {
        "batch": batch,
        "images_per_second": batch / seconds,
        "times_eager": reference / seconds if math.isfinite(reference) else None,
        "warm_up_seconds": paid,
        "pays_after": math.ceil(paid / gained) if gained > 0 and how.compile is not None else None,
        "peak_gibibytes": peak_gibibytes(device),
    }


@contextmanager
def _switches(how: Variant) -> Iterator[None]:
    """Set torch's global switches for a variant; restore them afterwards."""
    benchmark, precision = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    torch.backends.cudnn.benchmark = how.cudnn_benchmark
    # "high" takes TF32 for matrix products in float32; convolutions in float32 take it by default.
    torch.set_float32_matmul_precision("high" if how.precision == "fp32" else precision)
    try:
        with compiled_anew() if how.compile is not None else nullcontext():
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark
        torch.set_float32_matmul_precision(precision)
