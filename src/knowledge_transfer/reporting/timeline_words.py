"""What a timeline says in words: one after another or side by side, what was tried again, what took longest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from knowledge_transfer.reporting.timeline import (
    FINISHED,
    Attempt,
    Timeline,
    attempts_of,
    by_place,
    lanes_of,
    seconds_of,
    unit_of,
)

_SLOWEST = 8
_TIMES = {1: "once", 2: "twice"}


def told(timeline: Timeline) -> dict[str, Any]:
    """Return what the report tells: sentences, the slowest attempts, what the figure shows; {} if none has ended."""
    attempts = attempts_of(timeline)
    if not attempts:
        return {}
    whole = seconds_of(attempts)
    unit, _, size = unit_of(whole)
    slowest = sorted(attempts, key=lambda attempt: -attempt.seconds)[:_SLOWEST]
    return {
        "sentences": [
            _how(attempts, [place for place, here in by_place(timeline, attempts).items() if here]),
            *_again(attempts),
        ],
        "slowest": [
            {
                "node": attempt.node,
                "remark": "" if attempt.status == FINISHED else attempt.status,
                "places": ", ".join(attempt.places),
                "time": f"{attempt.seconds / size:.1f}",
                "share": attempt.seconds / (whole or 1),
            }
            for attempt in slowest
        ],
        "unit": unit,
        "is_joined": any(len(attempt.places) > 1 for attempt in attempts),
        "is_broken": any(attempt.status != FINISHED for attempt in attempts),
    }


def _how(attempts: Sequence[Attempt], places: Sequence[str]) -> str:
    """Return whether nodes ran one after another, where, and how long that took."""
    unit, _, size = unit_of(seconds_of(attempts))
    took = f"{seconds_of(attempts) / size:.1f} {unit}"
    count, at_once = len({attempt.node for attempt in attempts}), max(lanes_of(attempts)) + 1
    where = f"{', '.join(places[:-1])} and {places[-1]}" if len(places) > 1 else places[0]
    if count == 1 and at_once == 1:
        return f"One node ran, on {where}, in {took}."
    if at_once == 1:
        return f"{count} nodes ran one after another on {where}, in {took}."
    total = sum(attempt.seconds for attempt in attempts)
    return (
        f"{count} nodes ran side by side, up to {at_once} at once, on {where}: "
        f"their times add up to {total / size:.1f} {unit}, the run took {took}."
    )


def _again(attempts: Sequence[Attempt]) -> list[str]:
    """Return a sentence for every node that did not finish at once."""
    last = {attempt.node: attempt.attempt for attempt in sorted(attempts, key=lambda attempt: attempt.attempt)}
    broken = [attempt for attempt in attempts if attempt.status != FINISHED]
    sentences = []
    for (node, status), count in Counter((attempt.node, attempt.status) for attempt in broken).items():
        ended, again = ("failed", "was tried again") if status == "failed" else (f"was {status}", "tried again")
        latest = max(attempt.attempt for attempt in broken if (attempt.node, attempt.status) == (node, status))
        then = f" and {again}" if last[node] > latest else ""
        sentences.append(f"{node.rpartition('.')[2]} {ended} {_TIMES.get(count, f'{count} times')}{then}.")
    return sentences
