"""The machine and the settings in a line, for each pair a table and the ratios of ours to every peer: time, speed."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.common import ours
from benchmarks.common.machine import processor
from benchmarks.common.text import spread, table, with_error

_LEARNERS = 4
Runs = list[dict[str, Any]]


def header(results: Runs) -> str:
    """Return the machine, the versions, and the settings of every side."""
    versions = {name: version for run in results for name, version in run["versions"].items()}
    precisions = {run["side"]: run["precision"] for run in results}
    return "; ".join(
        [
            f"{os.cpu_count()} cores ({processor()}), {results[0]['threads']} threads",
            ", ".join(f"{name} {version}" for name, version in versions.items()),
            ", ".join(f"{side} in {precision}" for side, precision in precisions.items()),
            f"seeds {', '.join(str(seed) for seed in sorted({run['seed'] for run in results}))}",
        ]
    )


def lines(results: Runs) -> Iterator[str]:
    """Yield a Markdown table and the ratios of each pair."""
    for pair in dict.fromkeys(run["pair"] for run in results):
        yield from _pair(pair, [run for run in results if run["pair"] == pair])
        yield ""


def _pair(pair: str, runs: Runs) -> Iterator[str]:
    sides = {side: [run for run in runs if run["side"] == side] for side in dict.fromkeys(run["side"] for run in runs)}
    goal = min(statistics.median(run["accuracy"] for run in own) for own in sides.values())
    first = runs[0]
    yield (
        f"**{pair}**, {len(first['seconds'])} epochs of {first['images']} images, batch {first['batch']}, "
        f"{first['workers']} loader processes"
    )
    yield ""
    head = ("side", f"s to {goal:.3f}", "epochs", "validation accuracy", "images/s", "peak memory, MB")
    yield from table(head, [(side, *_cells(own, goal)) for side, own in sides.items()])
    if "ours" in sides and len(sides) > 1:
        ours = sides["ours"]
        yield ""
        yield f"ours labelled {spread(run['labelled_per_second'] for run in ours)} views/s, {ours[0]['views']} of each"
        yield ""
        yield from _times(sides, goal)
        yield ""
        yield from _ratios(sides)


def _cells(runs: Runs, goal: float) -> list[str]:
    reached = statistics.median(seconds_to(run, goal) for run in runs)
    return [
        f"{reached:.1f}" if math.isfinite(reached) else "not reached",
        str(len(runs[0]["seconds"])),
        with_error([run["accuracy"] for run in runs], 3),
        spread(run["images_per_second"] for run in runs),
        spread(run["memory"] for run in runs),
    ]


def _times(sides: dict[str, Runs], goal: float) -> Iterator[str]:
    """Yield how many times sooner ours is at `goal` than every rival, labelling included, run by run of one seed."""
    own = [side for side in sides if side.startswith("ours")]
    reached = {side: {run["seed"]: seconds_to(run, goal) for run in runs} for side, runs in sides.items()}

    def sooner(rival: str, side: str) -> str:
        pairs = [(reached[rival][seed], reached[side][seed]) for seed in reached[rival].keys() & reached[side].keys()]
        ratios = [theirs / ours for theirs, ours in pairs if math.isfinite(theirs) and math.isfinite(ours)]
        return f"{spread(ratios, digits=1)}, {len(ratios)} of {len(pairs)} runs" if ratios else "not reached"

    head = (f"time to {goal:.3f} over that of", *own)
    yield from table(head, [(rival, *(sooner(rival, side) for side in own)) for rival in sides if rival not in own])


def _ratios(sides: dict[str, Runs]) -> Iterator[str]:
    """Yield how many times ours is as fast as every rival, run by run of the same seed."""
    rates = {side: {run["seed"]: run["images_per_second"] for run in runs} for side, runs in sides.items()}
    rivals = {side: rates[side] for side in rates if not side.startswith("ours")}
    plain = [rates[side] for side in ("tutorial", "torchdistill") if side in rates]
    if len(plain) == 2:
        seeds = plain[0].keys() & plain[1].keys()
        rivals["faster of tutorial and torchdistill"] = {seed: max(rate[seed] for rate in plain) for seed in seeds}
    head = (
        f"ours against, {ours.VIEWS} views labelled for {ours.EPOCHS} epochs",
        "learning alone",
        "one learner",
        "4 learners",
    )
    yield from table(
        head,
        [
            (
                rival,
                *(
                    spread((with_labelling(run, learners) / rate[run["seed"]] for run in sides["ours"]), digits=1)
                    for learners in (math.inf, 1, _LEARNERS)
                ),
            )
            for rival, rate in rivals.items()
        ],
    )


def with_labelling(run: dict[str, Any], learners: float) -> float:
    """Return images/s of a learner of 50 epochs with its share, one of `learners`, of the labelling of 8 views."""
    labelling = ours.VIEWS / ours.EPOCHS / learners / run["labelled_per_second"]
    return float(1 / (1 / run["images_per_second"] + labelling))


def seconds_to(run: dict[str, Any], goal: float) -> float:
    """Return the seconds to the end of the first epoch whose validation accuracy is `goal` or more; else infinity."""
    pairs = zip(run["seconds"], run["accuracies"], strict=True)
    return next((seconds for seconds, accuracy in pairs if accuracy >= goal), math.inf)
