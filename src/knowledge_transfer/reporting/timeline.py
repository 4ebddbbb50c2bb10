"""The timeline of a run: every attempt to run a node, the use of each device, sentences on both."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

Timeline = dict[str, Any]
FINISHED = "finished"
_TIMES = {1: "once", 2: "twice"}


@dataclass(frozen=True)
class Attempt:
    """One attempt to run a node, from `started` to `ended`, both in seconds since the run began."""

    node: str
    model: str | None
    devices: tuple[str, ...]
    started: float
    ended: float
    status: str
    attempt: int

    @property
    def stage(self) -> str:
        """The namespace without its round: `reference_arms`."""
        return re.sub(r"^round_\d+\.", "", self.node).rpartition(".")[0]

    @property
    def name(self) -> str:
        """The node's name without its namespace."""
        return self.node.rpartition(".")[2]

    @property
    def seconds(self) -> float:
        """The duration."""
        return self.ended - self.started


def attempts_of(timeline: Timeline) -> list[Attempt]:
    """Return every attempt that has ended, in the order of their start."""
    ended = [_attempt(row, timeline["began"]) for row in timeline["nodes"] if row["ended"] is not None]
    return sorted(ended, key=lambda attempt: (attempt.started, attempt.ended))


def _attempt(row: dict[str, Any], began: float) -> Attempt:
    known = {name: row[name] for name in ("node", "model", "status", "attempt")}
    times = {name: row[name] - began for name in ("started", "ended")}
    return Attempt(**known, **times, devices=tuple(row["places"]))


def by_device(timeline: Timeline, attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    """Return the attempts on each device, in the order of the machine."""
    found: dict[str, list[Attempt]] = {device: [] for device in timeline["places"]}
    for attempt in attempts:
        for device in attempt.devices:
            found.setdefault(device, []).append(attempt)
    return found


def seconds_of(attempts: Iterable[Attempt]) -> float:
    """Return the seconds from the start of the run to the end of its last attempt, 0 where there is none."""
    return max((attempt.ended for attempt in attempts), default=0.0)


def busy_seconds(attempts: Sequence[Attempt]) -> float:
    """Return for how long at least one of the attempts, in the order of their start, ran."""
    busy = until = 0.0
    for attempt in attempts:
        busy += max(attempt.ended - max(attempt.started, until), 0)
        until = max(until, attempt.ended)
    return busy


def most_at_once(attempts: Sequence[Attempt]) -> int:
    """Return the largest number of attempts that ran at the same time, 0 where there is none."""
    return max((sum(each.started <= one.started < each.ended for each in attempts) for one in attempts), default=0)


def unit_of(seconds: float) -> tuple[str, str, float]:
    """Return the unit for such a duration, its sign, and how many seconds it has."""
    if seconds < 180:
        return "seconds", "s", 1
    return ("minutes", "min", 60) if seconds < 3 * 3600 else ("hours", "h", 3600)


def measure_device_use(timeline: Timeline, *_earlier: object) -> pd.DataFrame:
    """Return for each device its nodes, busy seconds and share of the run. Further inputs only order this node."""
    attempts = attempts_of(timeline)
    rows = [
        {
            "place": device,
            "nodes": len({attempt.node for attempt in here}),
            "busy_seconds": busy_seconds(here),
            "share": busy_seconds(here) / (seconds_of(attempts) or 1),
        }
        for device, here in by_device(timeline, attempts).items()
    ]
    return pd.DataFrame(rows)


def sentences(timeline: Timeline) -> list[str]:
    """Return sentences: whether nodes ran side by side, the use of each device, every failed attempt."""
    attempts = attempts_of(timeline)
    if not attempts:
        return []
    use = [f"{row.place} {row.share:.0%}" for row in measure_device_use(timeline).itertuples()]
    return [_order(timeline, attempts), f"In use for this share of the time: {', '.join(use)}.", *_repeats(attempts)]


def _order(timeline: Timeline, attempts: Sequence[Attempt]) -> str:
    unit, _, size = unit_of(seconds_of(attempts))
    took = f"{seconds_of(attempts) / size:.1f} {unit}"
    devices = [device for device, here in by_device(timeline, attempts).items() if here]
    where = f"{', '.join(devices[:-1])} and {devices[-1]}" if len(devices) > 1 else devices[0]
    count, at_once = len({attempt.node for attempt in attempts}), most_at_once(attempts)
    if at_once <= 1:
        nodes = "One node ran," if count == 1 else f"{count} nodes ran one after another"
        return f"{nodes} on {where}, in {took}."
    total = sum(attempt.seconds for attempt in attempts)
    return (
        f"{count} nodes ran side by side, up to {at_once} at once, on {where}: "
        f"their times add up to {total / size:.1f} {unit}, the run took {took}."
    )


def _repeats(attempts: Sequence[Attempt]) -> list[str]:
    """Return a sentence for every node and way in which its attempts ended, if not finished."""
    broken: dict[tuple[str, str], list[int]] = {}
    for attempt in attempts:
        if attempt.status != FINISHED:
            broken.setdefault((attempt.node, attempt.status), []).append(attempt.attempt)
    found = []
    for (node, status), numbers in broken.items():
        ended, again = ("failed", "was repeated") if status == "failed" else (f"was {status}", "repeated")
        is_last = all(each.attempt <= max(numbers) for each in attempts if each.node == node)
        times = _TIMES.get(len(numbers), f"{len(numbers)} times")
        found.append(f"{node.rpartition('.')[2]} {ended} {times}{'' if is_last else f' and {again}'}.")
    return found
