"""What one GPU gains from several students at once: tiny ones stacked, four different ones in processes."""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from threading import BrokenBarrierError
from typing import Any

import torch

from benchmarks.common import AUGMENTATION, network, random_images
from benchmarks.gpu.bench import Bench, Rows
from benchmarks.stacked_students import random_images as random_digits
from benchmarks.stacked_students import seconds as seconds_of_members
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions, Trainer

_PATIENCE = 120  # seconds that a process waits for the others to be ready
_barrier: Any = None  # of this process, set where it is started


def rows(bench: Bench) -> Rows:
    """Yield a row for stacked students and one for students that share the device."""
    yield "stacked", partial(_stacked, bench)
    yield "at_once", partial(_at_once, bench)


def _stacked(bench: Bench) -> dict[str, Any]:
    """Return images per second of tiny students, stacked and one after another, and the median ratio of the two."""
    sizes = bench.sizes
    how = {"width": 4, "kernel": 5, "hidden": 32, "batch": 128, "epochs": 1, "images": sizes.member_images}
    args = argparse.Namespace(members=sizes.members, device=str(bench.device), **how)
    images = random_digits(sizes.member_images)
    both = (False, True)
    pairs = [[seconds_of_members(images, args, stack=stack) for stack in both] for _ in range(1 + sizes.repeats)]
    pairs = pairs[1:]  # the first did what is done only once
    loop, stacked = (statistics.median(side) for side in zip(*pairs, strict=True))
    seen = sizes.members * sizes.member_images
    return {
        "members": sizes.members,
        "images_per_second": {"one_after_another": seen / loop, "stacked": seen / stacked},
        "ratio": statistics.median(alone / together for alone, together in pairs),
    }


def _at_once(bench: Bench) -> dict[str, Any]:
    """Return the seconds of one after another, and of all at once in processes, that take the same steps each."""
    kinds, sizes, device = bench.sizes.neighbours, bench.sizes, str(bench.device)
    steps = 5 * sizes.steps
    jobs = [(kind, sizes.width, device, sizes.batches[0], steps) for kind in kinds]
    alone = {kind: end - begin for kind, (begin, end) in zip(kinds, map(train, jobs), strict=True)}
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(len(jobs))
    with ProcessPoolExecutor(len(jobs), spawn, _set_barrier, (barrier,)) as pool:
        spans = list(pool.map(train, jobs))
    makespan = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return {
        "steps": steps,
        "alone_seconds": alone,
        "one_after_another": sum(alone.values()),
        "at_once": makespan,
        "at_once_seconds": {kind: end - begin for kind, (begin, end) in zip(kinds, spans, strict=True)},
        "ratio": sum(alone.values()) / makespan,
    }


def _set_barrier(barrier: Any) -> None:
    global _barrier  # noqa: PLW0603 - a barrier reaches a process of a pool only when it is started
    _barrier = barrier


def train(job: tuple[str, float, str, int, int]) -> tuple[float, float]:
    """Return when one student began and ended its steps, by the clock that all processes share.

    `job` is its kind and width, the device, the batch size and the number of steps. Where the process has been given a
    barrier, all begin when the last is ready. Raises BrokenBarrierError where another failed.
    """
    kind, width, device, batch, steps = job
    try:
        images = random_images(steps * batch)
        recipe = Recipe(epochs=100, batch_size=batch, learning_rate=1e-3, augmentation=AUGMENTATION)
        net = network(kind, width)
        learner = Trainer(net, images, recipe, FitOptions(kind, 0, torch.device(device)))
        learner.epoch(0)
        if _barrier is not None:
            _barrier.wait(_PATIENCE)
    except BrokenBarrierError:
        raise
    except Exception:
        if _barrier is not None:
            _barrier.abort()
        raise
    began = time.monotonic()
    learner.epoch(1)
    return began, time.monotonic()
