"""How time and memory grow with images, from 1,000 to 50,000, and with members, from 1 to 64.

`python -m benchmarks.growth --figure FILE`: every point is a process of its own, so that its peak memory is its own;
the sizes are taken in turn, again and again. An exponent of 1 says that an image or a member costs the same however
many there are; it is the slope of a straight line through the logarithms, with its standard error. Memory is what the
process held at its peak more than before its first image.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import DEVIATION, MEAN, machine, random_images, resident_peak
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import split, without
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.objective import Distillation
from knowledge_transfer.learning.distillation.validation import rank
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training.recipe import Recipe

CPU = torch.device("cpu")
IMAGES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
MEMBERS = (1, 2, 4, 8, 16, 32, 64)
FEW = 512  # images that members learn, label and are asked about
FUSIONS = ("mean_probabilities", "borda", "weighted")
LAYERS = {"convolutions": [[8], [16]], "hidden": [32]}
TINY = Architecture.model_validate({"kind": "cnn", "layers": LAYERS})
RECIPE = Recipe(epochs=1, batch_size=128, views=1, augmentation=Augmentation(crop=4, flip=True))
NORMALISATION = Normalisation(mean=MEAN, deviation=DEVIATION)


@dataclass
class Point:
    """What one size cost in each repeat: seconds per stage, and peak memory in bytes, NaN where it cannot be told."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)

    def add(self, seconds: dict[str, float], memory: float) -> None:
        """Take note of a repeat."""
        for stage, spent in seconds.items():
            self.seconds.setdefault(stage, []).append(spent)
        self.memory.append(memory)


def grow_images(count: int) -> dict[str, float]:
    """Return the seconds that each stage takes with `count` images and one small model."""
    test, seconds = random_images(count // 10 + 1), {}
    timed = _Timed(seconds)
    images = timed("images: drawing", lambda: random_images(count))
    kept = timed("images: leaving out the test set's", lambda: without(images, test))
    ours, held_out = timed("images: splitting", lambda: split(kept, 0.1, seed=0))
    timed("images: normalisation", ours.statistics)
    timed("images: hash", lambda: ours.sha256)
    teacher = timed("images: learning from labels", lambda: _learn("teacher", ours, held_out))
    labels = timed("images: labelling a view", lambda: _label([teacher], ours))
    timed("images: fusing", lambda: Distillation(labels, DistillationConfig()).objective(ours))
    taught = Distillation(labels, DistillationConfig())
    timed("images: learning from soft labels", lambda: _learn("learner", ours, held_out, distillation=taught))
    del seconds["images: drawing"]
    return seconds


def grow_members(count: int) -> dict[str, float]:
    """Return the seconds that each stage takes with `count` members and few images."""
    images, seconds = random_images(FEW), {}
    timed = _Timed(seconds)
    _learn("warm-up", images, images)
    members = timed(
        "members: learning", lambda: [_learn(f"m{number}", images, images, seed=number) for number in range(count)]
    )
    validation_scores = timed("members: ranking", lambda: rank(members, images, device=CPU))
    labels = timed("members: labelling a view", lambda: _label(members, images))
    for rule in FUSIONS:
        timed(
            f"members: fusing, {rule}",
            partial(Distillation(labels, DistillationConfig(fusion=rule), validation_scores).objective, images),
        )
    taught = Distillation(labels, DistillationConfig(fusion="mean_probabilities"), validation_scores)
    timed("members: teaching one", lambda: _learn("taught", images, images, distillation=taught))
    return seconds


GROWN: dict[str, Callable[[int], dict[str, float]]] = {"images": grow_images, "members": grow_members}


@dataclass(frozen=True)
class _Timed:
    seconds: dict[str, float]

    def __call__(self, stage: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        self.seconds[stage] = time.perf_counter() - began
        return result


def _learn(
    name: str, images: ImageSet, validation: ImageSet, seed: int = 0, distillation: Distillation | None = None
) -> Any:
    data = FitData(images, validation, NORMALISATION)
    return learn(name, TINY, data, RECIPE, LearnOptions(seed, CPU), distillation=distillation)


def _label(teachers: list[Any], images: ImageSet) -> Any:
    return label(teachers, images, views=1, view_seed=0, augmentation=RECIPE.augmentation, device=CPU)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Return the slope of log cost over log size by least squares, and its standard error."""
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in (sizes, costs))
    centred = x - x.mean()
    slope = (centred * y).sum() / centred.square().sum()
    rest = y - y.mean() - slope * centred
    error = (rest.square().sum() / max(1, len(x) - 2) / centred.square().sum()).sqrt()
    return float(slope), float(error)


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--figure", type=Path, help="where to draw the figure (none: nowhere)")
    parser.add_argument("--most", type=int, default=max(IMAGES), help="images at most; members in proportion")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "COUNT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        _one(options.one[0], int(options.one[1]))
        return
    sizes = {
        "images": [count for count in IMAGES if count <= options.most],
        "members": [count for count in MEMBERS if count <= max(4, options.most * max(MEMBERS) / max(IMAGES))],
    }
    points = {what: {count: Point() for count in counts} for what, counts in sizes.items()}
    for _ in range(options.repeats):
        for what, of_what in points.items():
            for count, point in of_what.items():
                point.add(**_in_a_process(what, count, options.threads))
    print(machine(CPU))
    for what, of_what in points.items():
        _tell(what, of_what)
    if options.figure:
        from benchmarks.growth_figure import draw

        draw(points, options.figure)


def _one(what: str, count: int) -> None:
    GROWN[what](64 if what == "images" else 1)  # what is set up once is no image's cost
    before = resident_peak(reset=True)
    seconds = GROWN[what](count)
    print(json.dumps({"seconds": seconds, "memory": resident_peak() - before}))


def _in_a_process(what: str, count: int, threads: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.growth", f"--threads={threads}", "--one", what, str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _tell(what: str, points: dict[int, Point]) -> None:
    sizes = list(points)
    print(f"\n| per {what.removesuffix('s')}, µs | {' | '.join(f'{size:,}' for size in sizes)} | exponent |")
    print("|---" * (len(sizes) + 2) + "|")
    for stage in next(iter(points.values())).seconds:
        middle = [statistics.median(point.seconds[stage]) for point in points.values()]
        print(_row(stage, [1e6 * cost / size for size, cost in zip(sizes, middle, strict=True)], sizes, middle))
    memory = [statistics.median(point.memory) for point in points.values()]
    print(
        _row("peak memory, kB", [cost / size / 1000 for size, cost in zip(sizes, memory, strict=True)], sizes, memory)
    )


def _row(name: str, each: list[float], sizes: list[int], costs: list[float]) -> str:
    slope, error = exponent(sizes, costs) if min(costs) > 0 else (math.nan, math.nan)
    return f"| {name} | {' | '.join(f'{cost:,.1f}' for cost in each)} | {slope:.2f} ± {error:.2f} |"


if __name__ == "__main__":
    main()
