"""How close training, labelling and evaluation come to the bare pass and to the matrix product."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.common import machine, ours
from benchmarks.common.bench import Bench, Rows
from benchmarks.common.timing import breakdown, matmul_rate, now, peak_gibibytes, rates_in_turn, seconds_of, steps_of
from benchmarks.speed.options import bare_pass

# The backward pass has two products for each of the forward pass: one gradient by inputs, one by weights.
_PASSES = {"bare": 3, "steps": 3, "labelling": 1, "evaluation": 1}


def machine_rows(bench: Bench) -> Rows:
    """Yield the facts about the machine, then its rates of matrix products in multiply-adds per second."""
    rate = partial(_product, bench)
    yield "facts", lambda: machine.facts(bench.device)
    yield "bf16", partial(rate, torch.bfloat16, "highest")
    yield "fp32", partial(rate, torch.float32, "highest")
    yield "tf32", partial(rate, torch.float32, "high")


def _product(bench: Bench, kind: torch.dtype, precision: str) -> dict[str, Any]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        return {"rate": matmul_rate(bench.device, kind, bench.sizes.product)}
    finally:
        torch.set_float32_matmul_precision(before)


def rows(bench: Bench) -> Rows:
    """Yield a row for each model and batch size."""
    for kind in bench.kinds:
        for batch in bench.sizes.batches:
            yield f"{kind}/{batch}", partial(_row, bench, kind, batch)


def _row(bench: Bench, kind: str, batch: int) -> dict[str, Any]:
    """Return images per second of each side, their shares of the matrix product, and the profile of a step.

    `bare` is a forward and backward pass, `steps` are those of a fit with stored soft labels, `of_bare` is their ratio,
    repeat by repeat. Labelling and evaluation take batches of their own size.
    """
    device, shape, sizes = bench.device, bench.architecture(kind), bench.sizes
    trainer, images = ours.distilling_trainer(shape, batch, ours.VIEWS, device), ours.random_images(sizes.predicted)
    sides = {"bare": (batch, bare_pass(shape, batch, device)), "steps": (batch, ours.step_of(trainer))}
    if batch == sizes.batches[0]:
        teacher, net = ours.hardly_trained(kind, sizes.width), ours.network(shape)
        sides["labelling"] = len(images), partial(ours.soft_labels, [teacher], images, device)
        sides["evaluation"] = len(images), partial(ours.predict, net, images, device=device)
    peak_gibibytes(device)  # starts the peak again
    sides["steps"][1]()
    peak = peak_gibibytes(device)
    rates = rates_in_turn(sides, device, sizes.repeats, sizes.seconds)
    macs = ours.multiply_adds(ours.network(shape), 3, 32)
    per_product = {side: macs * _PASSES[side] / bench.fast_rate for side in sides}
    return {
        "multiply_adds": macs,
        "images_per_second": rates,
        "of_bare": [steps / bare for steps, bare in zip(rates["steps"], rates["bare"], strict=True)],
        "share": {side: statistics.median(found) * per_product[side] for side, found in rates.items()},
        "peak_gibibytes": peak,
        "step": step_profile(trainer, sizes.profile_steps),
    }


def step_profile(trainer: ours.Trainer, count: int) -> dict[str, Any]:
    """Return the shares in [0, 1] of `phases` in the time of `count` steps, and the `breakdown` of one step by kernel.

    The phases are views (pixels and targets), the model forward and backward, the loss, the optimizer, and the rest.
    """
    step = ours.step_of(trainer)
    step()
    with _phases(trainer) as spent:
        whole = seconds_of(steps_of(step, count), trainer.device)
    phases = {name: seconds / whole for name, seconds in spent.items()}
    phases["rest"] = 1 - sum(phases.values())
    try:
        kernels = breakdown(step, trainer.device)
    except RuntimeError as error:  # the phases are worth having without it
        kernels = {"top": {}, "busy": None, "error": str(error)}
    return {"phases": phases, **kernels}


@contextmanager
def _phases(trainer: ours.Trainer) -> Iterator[dict[str, float]]:
    """Collect the seconds that each phase takes while the context lasts."""
    spent: dict[str, float] = {}

    def timed(phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            began = now(trainer.device)
            result = work(*given, **named)
            spent[phase] = spent.get(phase, 0.0) + now(trainer.device) - began
            return result

        return call

    with ExitStack() as patches:
        for owner, attribute, phase in ours.phases_of(trainer):
            patches.enter_context(patch.object(owner, attribute, timed(phase, getattr(owner, attribute))))
        yield spent
