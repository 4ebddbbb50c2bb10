"""What the step would gain from being compiled, from CUDA graphs, another optimizer, memory format or precision."""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.bare import Variant, bare_step
from benchmarks.gpu.bench import Bench, Rows
from benchmarks.gpu.measure import compiled_anew, median_seconds, peak_gibibytes, seconds_of, steps_of

_WARM_UP = 4  # steps, more than a captured graph needs
_ANYWHERE = {
    "eager": Variant(),
    "not_fused": Variant(is_fused=False),
    "contiguous": Variant(channels_last=False),
    "fp32": Variant(precision="fp32"),
    "compiled": Variant(compile="default"),
}
_ON_GPU = {
    "cudnn_benchmark": Variant(cudnn_benchmark=True),
    "graphs": Variant(compile="reduce-overhead"),
}


def rows(bench: Bench) -> Rows:
    """Yield a row for each variant and model: the variants that need no compiler first, for all models."""
    variants = _ANYWHERE | (_ON_GPU if bench.device.type == "cuda" else {})
    eager: dict[str, float] = {}
    for name, how in sorted(variants.items(), key=lambda item: item[1].compile is not None):
        for kind in bench.kinds:
            yield f"{kind}/{name}", partial(_row, bench, kind, how, eager)


def _row(bench: Bench, kind: str, how: Variant, eager: dict[str, float]) -> dict[str, Any]:
    with compiled_anew() if how.compile is not None else nullcontext():
        return _measured(bench, kind, how, eager)


def _measured(bench: Bench, kind: str, how: Variant, eager: dict[str, float]) -> dict[str, Any]:
    """Return images per second, how many times that of `eager`, and what is paid for it before the first step.

    `eager` holds each model's seconds a step, filled in by the variant of that name. `pays_after` is the number of
    steps after which `warm_up_seconds` are made good; none where they never are.
    """
    batch, device = bench.sizes.batches[0], bench.device
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = how.cudnn_benchmark
    # "high" takes TF32 for what is left in float32; convolutions in float32 take it by default.
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if how.precision == "fp32" else precision)
    try:
        step = bare_step(kind, bench.sizes.width, batch, device, how)
        first = seconds_of(steps_of(step, _WARM_UP), device)
        peak_gibibytes(device)
        seconds = median_seconds(steps_of(step, bench.sizes.steps), device, bench.sizes.repeats) / bench.sizes.steps
    finally:
        torch.backends.cudnn.benchmark = before
        torch.set_float32_matmul_precision(precision)
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
