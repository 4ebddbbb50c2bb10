"""One side of one pair in a process of its own: `python -m benchmarks.peers.one SIDE TASK`, both as JSON prints it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import statistics
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.course import Course, peak_memory
from benchmarks.peers.task import Task

# Where each side is, and the package that it needs beside this project.
SIDES = {
    "tutorial": ("tutorial", None),
    "torchdistill": ("distillation_box", "torchdistill"),
    "lightning": ("lightning_module", "lightning"),
    "ours": ("stored_labels", None),
}


def missing(side: str) -> str | None:
    """Return what to do for `side` to run, none where its package is installed."""
    package = SIDES[side][1]
    if package is None or importlib.util.find_spec(package) is not None:
        return None
    return f"{side} is not installed: pip install 'knowledge-transfer[benchmark]', or pip install {package}"


def run(side: str, task: Task) -> dict[str, Any]:
    """Return what one fit took and reached.

    `images_per_second` is the median over whole epochs after the first (over all where there is one);
    `labelled_per_second` counts views; `seconds` are those of training and labelling up to the end of each epoch,
    `accuracies` what validation says then, in [0, 1]; `memory` is in MB. Raises SystemExit, saying what to do, where
    the side's package is missing.
    """
    if told := missing(side):
        raise SystemExit(told)
    module = importlib.import_module(f"benchmarks.peers.{SIDES[side][0]}")
    torch.manual_seed(task.seed)
    course = Course(task)
    module.distil(task, course)
    per_epoch = statistics.median(course.seconds[1:] or course.seconds)
    labelled = len(task.images) * task.views
    return {
        "side": side,
        "pair": task.pair,
        "seed": task.seed,
        "images": len(task.images),
        "batch": task.batch,
        "precision": module.PRECISION if task.mixed else "float32",
        "threads": torch.get_num_threads(),
        "workers": task.workers,
        "views": task.views if side == "ours" else None,
        "images_per_second": task.steps * task.batch / per_epoch,
        "epoch_seconds": course.seconds,
        "labelling_seconds": course.labelling_seconds,
        "labelled_per_second": labelled / course.labelling_seconds if course.labelling_seconds else None,
        "seconds": list(accumulate(course.seconds, initial=course.labelling_seconds))[1:],
        "accuracies": course.accuracies,
        "accuracy": course.accuracies[-1],
        "memory": peak_memory(task.device),
        "versions": {
            name: importlib.metadata.version(name) for name in ("torch", "torchvision", SIDES[side][1]) if name
        },
    }


def main() -> None:
    """Run the side that the first argument names on the task that the second describes; print JSON."""
    side, described = sys.argv[1], json.loads(sys.argv[2])
    torch.set_num_threads(described.pop("threads"))
    result = run(side, Task(**{**described, "folder": Path(described["folder"])}))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
