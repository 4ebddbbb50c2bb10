"""One fit of one side: its time, its accuracy and its memory."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import multiprocessing
import statistics
import tempfile
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ours
from benchmarks.common.bench import Bench, Rows
from benchmarks.common.machine import resident_peak
from benchmarks.common.timing import now, peak_gibibytes
from benchmarks.speed.peers.store import prepare_random
from benchmarks.speed.peers.task import PAIRS, Task

# The module and the function of each side, its precision, and the package that it needs beside this project.
SIDES = {
    "tutorial": ("plain", "tutorial", "float32", None),
    "torchdistill": ("distillation_box", "torchdistill", "float32", "torchdistill"),
    "lightning": ("lightning_module", "train", "bf16-mixed", "lightning"),
    "in_step": ("plain", "in_step", "bf16", None),
    "ours": ("plain", "stored_labels", "bf16", None),
    "ours_muon": ("plain", "stored_labels_muon", "bf16", None),
}


@dataclass
class EpochClock:
    """The seconds of every epoch of a fit, and the accuracy on validation after it, whose time does not count."""

    task: Task
    labelling_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    began: float = 0.0

    def start(self) -> None:
        """Begin an epoch in training mode."""
        self.task.student.train()
        self.began = now(self.task.device)

    def stop(self) -> None:
        """End an epoch and validate."""
        self.seconds.append(now(self.task.device) - self.began)
        self.accuracies.append(validate(self.task))


@torch.inference_mode()
def validate(task: Task) -> float:
    """Return the student's accuracy on validation, in [0, 1].

    Unlike `predict` it keeps the memory format of the weights, which is part of the comparison.
    """
    network, images = task.student.eval(), task.validation
    correct = 0
    for pixels, labels in zip(images.images.split(256), images.labels.split(256), strict=True):
        with ours.autocast(task.device, "auto"):
            correct += int((network(pixels.to(task.device)).argmax(1).cpu() == labels).sum())
    return correct / len(images)


def missing(side: str) -> str | None:
    """Return how to install the package of `side`, None where it is installed."""
    package = SIDES[side][3]
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return f"{side} is not installed: pip install 'knowledge-transfer[benchmark]', or pip install {package}"


def run(side: str, **described: Any) -> dict[str, Any]:
    """Return the time and the accuracy of one fit of the task with these fields.

    `images_per_second` is the median over all epochs after the first (over all where there is one);
    `labelled_per_second` counts views; `seconds` are those of training and labelling up to the end of each epoch,
    `accuracies` those on validation, in [0, 1]; `memory` is in MB. Raises SystemExit for a missing package.
    """
    if advice := missing(side):
        raise SystemExit(advice)
    task = Task(**described)
    module, function, precision, package = SIDES[side]
    distil = getattr(importlib.import_module(f"benchmarks.speed.peers.{module}"), function)
    torch.manual_seed(task.seed)
    peak_gibibytes(task.device)  # starts the peak again
    clock = EpochClock(task)
    distil(task, clock)
    labelling, packages = clock.labelling_seconds, ("torch", "torchvision", package)
    return {
        "side": side,
        **{name: described[name] for name in ("pair", "seed", "batch", "workers", "views")},
        "images": len(task.images),
        "precision": precision if task.mixed else "float32",
        "threads": torch.get_num_threads(),
        "images_per_second": task.steps * task.batch / statistics.median(clock.seconds[1:] or clock.seconds),
        "epoch_seconds": clock.seconds,
        "labelling_seconds": labelling,
        "labelled_per_second": len(task.images) * task.views / labelling if labelling else None,
        "seconds": list(accumulate(clock.seconds, initial=labelling))[1:],
        "accuracies": clock.accuracies,
        "accuracy": clock.accuracies[-1],
        "memory": peak_memory(task.device),
        "versions": {name: importlib.metadata.version(name) for name in packages if name},
    }


def peak_memory(device: torch.device) -> float:
    """Return the peak of the GPU's memory, or of this process or one of its loaders, in MB (10^6 bytes)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    loaders = [child.pid for child in multiprocessing.active_children() if child.pid is not None]
    # Children share most of their pages with their parent: the largest counts, not the sum.
    return max(resident_peak(process) for process in ("self", *loaders)) / 1e6


def rows(bench: Bench) -> Rows:
    """Yield a row for each pair, with random images, untrained teachers, and the sides that need torch alone."""
    for pair in PAIRS:
        yield pair, partial(_row, bench, pair)


def _row(bench: Bench, pair: str) -> dict[str, Any]:
    """Return the fit of every side, in this process, with one epoch for warm-up and one for each repeat."""
    sizes = bench.sizes
    with tempfile.TemporaryDirectory() as folder:
        prepare_random(Path(folder), PAIRS[pair].teachers, images=sizes.peer_images, width=sizes.width)
        task = {
            "pair": pair,
            "folder": folder,
            "seed": 0,
            "batch": sizes.batches[0],
            "rate": PAIRS[pair].rate,
            "width": sizes.width,
            "workers": bench.workers,
            "device_name": str(bench.device),
            "views": sizes.peer_views,
        }
        run("ours", epochs=1, **task)  # the first labelling of a process takes longer
        return {"runs": [run(side, epochs=1 + sizes.repeats, **task) for side in ("tutorial", "in_step", "ours")]}
