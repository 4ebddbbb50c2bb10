"""How near learning, labelling and evaluation come to the bare step, and that to the rate of matrix products."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.common import AUGMENTATION, as_checkpoint, network, random_images
from benchmarks.gpu.bare import bare_step
from benchmarks.gpu.bench import Bench, Rows
from benchmarks.gpu.measure import breakdown, median_seconds, peak_gibibytes, steps_of
from benchmarks.limits import learner_of
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.evaluation.predict import multiply_adds, predict

_PASSES = {"bare": 3, "learner": 3, "label": 1, "predict": 1}  # forward; backward costs two more


def rows(bench: Bench) -> Rows:
    """Yield a row for each model and batch size, the models at the width that is measured."""
    for kind in bench.kinds:
        for batch in bench.sizes.batches:
            yield f"{kind}/{batch}", partial(_row, bench, kind, batch)


def _row(bench: Bench, kind: str, batch: int) -> dict[str, Any]:
    """Return images per second and shares of the rate of matrix products, peak memory, and what a step is spent on.

    Labelling and evaluation take batches of their own size and are measured beside the first of `Sizes.batches`.
    """
    sizes, device = bench.sizes, bench.device
    images = random_images(sizes.steps * batch)
    step = bare_step(kind, sizes.width, batch, device)
    learner = learner_of(kind, batch, device, width=sizes.width, batches=sizes.steps)
    works = {
        "bare": (len(images), steps_of(step, sizes.steps)),
        "learner": (len(images), partial(learner.epoch, 0)),
    }
    if batch == sizes.batches[0]:
        asked = random_images(sizes.answers)
        works["label"] = len(asked), _labelling(bench, kind, asked)
        works["predict"] = len(asked), _predicting(bench, kind, asked)
    macs = multiply_adds(network(kind, sizes.width), 3, 32)
    row: dict[str, Any] = {"multiply_adds": macs, "images_per_second": {}, "share": {}, "peak_gibibytes": {}}
    for what, (count, work) in works.items():
        peak_gibibytes(device)
        rate = count / median_seconds(work, device, sizes.repeats)
        row["images_per_second"][what] = rate
        row["share"][what] = rate * macs * _PASSES[what] / bench.fast_rate
        row["peak_gibibytes"][what] = peak_gibibytes(device)
    return row | {"step": _breakdown(step, device)}


def _breakdown(step: Callable[[], object], device: torch.device) -> dict[str, Any]:
    try:
        return breakdown(step, device)
    except RuntimeError as error:  # the rates beside it are worth having without
        return {"top": {}, "busy": None, "error": str(error)}


def _labelling(bench: Bench, kind: str, images: ImageSet) -> Callable[[], object]:
    teacher = as_checkpoint(network(kind, bench.sizes.width), kind, bench.sizes.width)
    return lambda: label([teacher], images, views=1, view_seed=0, augmentation=AUGMENTATION, device=bench.device)


def _predicting(bench: Bench, kind: str, images: ImageSet) -> Callable[[], torch.Tensor]:
    net = network(kind, bench.sizes.width)
    return lambda: predict(net, images, device=bench.device)
