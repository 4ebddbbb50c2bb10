"""What is printed: a line that says where and how, a table per pair, and the ratios of ours to every peer."""

from __future__ import annotations

import math
import os
import statistics
from typing import Any

from benchmarks.common import EPOCHS, VIEWS, processor, spread, standard_error

_LEARNERS = 4
Runs = list[dict[str, Any]]


def header(results: Runs) -> str:
    """Return the machine, the versions, and how every side was run."""
    versions = {name: version for run in results for name, version in run["versions"].items()}
    precisions = {run["side"]: run["precision"] for run in results}
    first = results[0]
    return "; ".join(
        [
            f"{os.cpu_count()} cores ({processor()}), {first['threads']} threads",
            ", ".join(f"{name} {version}" for name, version in versions.items()),
            ", ".join(f"{side} in {precision}" for side, precision in precisions.items()),
            f"seeds {', '.join(str(seed) for seed in sorted({run['seed'] for run in results}))}",
        ]
    )


def tables(results: Runs) -> str:
    """Return a Markdown table and the ratios of each pair."""
    return "\n\n".join(
        _table(pair, [run for run in results if run["pair"] == pair])
        for pair in dict.fromkeys(run["pair"] for run in results)
    )


def _table(pair: str, runs: Runs) -> str:
    sides = {side: [run for run in runs if run["side"] == side] for side in dict.fromkeys(run["side"] for run in runs)}
    goal = min(statistics.median(run["accuracy"] for run in own) for own in sides.values())
    lines = [
        f"**{pair}**, {len(runs[0]['seconds'])} epochs of {runs[0]['images']} images, batch {runs[0]['batch']}, "
        f"{runs[0]['workers']} loader processes",
        "",
        f"| side | images/s | s to {goal:.3f} | peak memory, MB | validation accuracy |",
        "|---|---|---|---|---|",
        *(_row(side, own, goal) for side, own in sides.items()),
    ]
    ours = sides.get("ours")
    if ours and len(sides) > 1:
        labelled = spread(run["labelled_per_second"] for run in ours)
        lines += ["", f"ours labelled {labelled} views/s, {ours[0]['views']} of each image", "", *_ratios(sides)]
    return "\n".join(lines)


def _row(side: str, runs: Runs, goal: float) -> str:
    reached = statistics.median(seconds_to(run, goal) for run in runs)
    accuracies = [run["accuracy"] for run in runs]
    cells = [
        side,
        spread(run["images_per_second"] for run in runs),
        f"{reached:.1f}" if math.isfinite(reached) else "not reached",
        spread(run["memory"] for run in runs),
        f"{statistics.mean(accuracies):.3f} ± {standard_error(accuracies):.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def _ratios(sides: dict[str, Runs]) -> list[str]:
    """Return the lines of how many times ours is as fast, run by run of the same seed."""
    rates = {side: {run["seed"]: run["images_per_second"] for run in runs} for side, runs in sides.items()}
    rivals = {side: rates[side] for side in rates if side != "ours"}
    plain = [rates[side] for side in ("tutorial", "torchdistill") if side in rates]
    if len(plain) == 2:
        seeds = plain[0].keys() & plain[1].keys()
        rivals["faster of tutorial and torchdistill"] = {seed: max(rate[seed] for rate in plain) for seed in seeds}
    lines = [
        f"| ours, {VIEWS} views labelled for {EPOCHS} epochs, against | one learner | {_LEARNERS} learners |",
        "|---|---|---|",
    ]
    for rival, rate in rivals.items():
        cells = [
            spread((with_labelling(run, learners) / rate[run["seed"]] for run in sides["ours"]), digits=1)
            for learners in (1, _LEARNERS)
        ]
        lines.append(f"| {rival} | {' | '.join(cells)} |")
    return lines


def with_labelling(run: dict[str, Any], learners: int) -> float:
    """Return images/s of a learner of 50 epochs that bears its share, of `learners`, of the labelling of 8 views."""
    labelling = VIEWS / EPOCHS / learners / run["labelled_per_second"]
    return float(1 / (1 / run["images_per_second"] + labelling))


def seconds_to(run: dict[str, Any], goal: float) -> float:
    """Return the seconds to the end of the first epoch whose validation accuracy is `goal` or more; else infinity."""
    pairs = zip(run["seconds"], run["accuracies"], strict=True)
    return next((seconds for seconds, accuracy in pairs if accuracy >= goal), math.inf)
