"""How time and memory grow with images, from 1,000 to 50,000, and with members, from 1 to 64.

`python -m benchmarks.scaling.growth --figure FILE`: every point is a process of its own, so that its peak memory is its
own; the sizes take turns. At an exponent of 1 an image or a member costs the same however many there are. The exponent
is the slope of a line through the logarithms, with its standard error. Memory is the peak above that of the start.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ours
from benchmarks.common.machine import describe, resident_peak
from benchmarks.common.process import in_a_process, options
from benchmarks.common.text import table

IMAGES = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
MEMBERS = (1, 2, 4, 8, 16, 32, 64)
FEW = 512  # images that the members learn, label and predict
TINY = ours.architecture("cnn", layers={"convolutions": [[8], [16]], "hidden": [32]})
RECIPE = ours.Recipe(epochs=1, batch_size=128, views=1, augmentation=ours.Augmentation(crop=4, flip=True))


@dataclass
class Point:
    """The cost of one size in each repeat: seconds per stage, and peak memory in bytes, NaN where it is unknown."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)

    def add(self, seconds: Mapping[str, float], memory: float) -> None:
        """Add a repeat."""
        for stage, spent in seconds.items():
            self.seconds.setdefault(stage, []).append(spent)
        self.memory.append(memory)


class Stages(dict[str, float]):
    """The seconds of each stage."""

    def timed(self, stage: str, work: Callable[[], Any]) -> Any:
        """Return the result of `work`, whose seconds are those of the stage."""
        began = time.perf_counter()
        result = work()
        self[stage] = time.perf_counter() - began
        return result


def grow_images(count: int) -> Stages:
    """Return the seconds of each stage with `count` images and one small model."""
    stages, test, images = Stages(), ours.random_images(count // 10 + 1), ours.random_images(count)
    kept = stages.timed("images: leaving out the test set's", lambda: ours.without(images, test))
    own, held_out = stages.timed("images: splitting", lambda: ours.split(kept, 0.1, seed=0))
    stages.timed("images: normalisation", own.statistics)
    stages.timed("images: hash", lambda: own.sha256)
    teacher = stages.timed("images: learning from labels", lambda: _learn("teacher", own, held_out))
    labels = stages.timed("images: labelling a view", lambda: ours.soft_labels([teacher], own, ours.CPU))
    distillation = ours.DistillationConfig()
    stages.timed("images: fusing", lambda: ours.Distillation(labels, distillation).objective(own))
    taught = ours.Distillation(labels, distillation)
    stages.timed("images: learning from soft labels", lambda: _learn("learner", own, held_out, distillation=taught))
    return stages


def grow_members(count: int) -> Stages:
    """Return the seconds of each stage with `count` members and few images."""
    stages, images = Stages(), ours.random_images(FEW)
    _learn("warm-up", images, images)
    numbers = range(count)
    members = stages.timed(
        "members: learning", lambda: [_learn(f"m{each}", images, images, seed=each) for each in numbers]
    )
    scores = stages.timed("members: ranking", lambda: ours.rank(members, images, device=ours.CPU))
    labels = stages.timed("members: labelling a view", lambda: ours.soft_labels(members, images, ours.CPU))
    for rule in ("mean_probabilities", "borda", "weighted"):
        distillation = ours.DistillationConfig(fusion=rule)
        stages.timed(
            f"members: fusing, {rule}", partial(ours.Distillation(labels, distillation, scores).objective, images)
        )
    taught = ours.Distillation(labels, ours.DistillationConfig(), scores)
    stages.timed("members: teaching one", lambda: _learn("taught", images, images, distillation=taught))
    return stages


GROWN: dict[str, Callable[[int], Stages]] = {"images": grow_images, "members": grow_members}


def _learn(name: str, images: ours.ImageSet, validation: ours.ImageSet, seed: int = 0, **how: Any) -> Any:
    data = ours.FitData(images, validation, ours.NORMALISATION)
    return ours.learn(name, TINY, data, RECIPE, ours.LearnOptions(seed, ours.CPU), **how)


def measure(what: str, count: int) -> dict[str, Any]:
    """Return the seconds and the memory of one point, after a small one that pays for the first use of everything."""
    GROWN[what](64 if what == "images" else 1)
    before = resident_peak(reset=True)
    seconds = GROWN[what](count)
    return {"seconds": seconds, "memory": resident_peak() - before}


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Return the slope of log cost over log size by least squares, and its standard error."""
    x, y = (torch.tensor(values, dtype=torch.float64).log() for values in (sizes, costs))
    centred = x - x.mean()
    slope = (centred * y).sum() / centred.square().sum()
    rest = y - y.mean() - slope * centred
    error = (rest.square().sum() / max(1, len(x) - 2) / centred.square().sum()).sqrt()
    return float(slope), float(error)


def lines(what: str, points: Mapping[int, Point]) -> Iterator[str]:
    """Yield a table of the cost per image or member of every stage, with the exponents."""
    stages = next(iter(points.values())).seconds
    costs = {stage: [statistics.median(point.seconds[stage]) * 1e6 for point in points.values()] for stage in stages}
    costs["peak memory, kB"] = [statistics.median(point.memory) / 1000 for point in points.values()]
    rows = []
    for name, each in costs.items():
        slope, error = exponent(list(points), each) if min(each) > 0 else (math.nan, math.nan)
        per_one = (f"{cost / size:,.1f}" for size, cost in zip(points, each, strict=True))
        rows.append((name, *per_one, f"{slope:.2f} ± {error:.2f}"))
    yield from table((f"per {what.removesuffix('s')}, µs", *(f"{size:,}" for size in points), "exponent"), rows)


if __name__ == "__main__":
    args = options(
        __doc__,
        repeats=3,
        figure=(Path, "where to draw the figure (none: nowhere)"),
        most=(max(IMAGES), "images at most; members in proportion"),
        threads=torch.get_num_threads(),
    )
    most_members = max(4, args.most * max(MEMBERS) / max(IMAGES))
    sizes = {"images": [each for each in IMAGES if each <= args.most]}
    sizes["members"] = [each for each in MEMBERS if each <= most_members]
    points = {what: {count: Point() for count in counts} for what, counts in sizes.items()}
    for _ in range(args.repeats):
        for what, of_what in points.items():
            for count, point in of_what.items():
                point.add(**in_a_process(measure, threads=args.threads, what=what, count=count))
    print(describe(ours.CPU))
    for what, of_what in points.items():
        print("", *lines(what, of_what), sep="\n")
    if args.figure:
        from benchmarks.scaling.growth_figure import draw

        draw(points, args.figure)
