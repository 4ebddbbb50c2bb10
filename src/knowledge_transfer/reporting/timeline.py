"""What a timeline says: which node was tried when, where and how it ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Timeline = dict[str, Any]
FINISHED = "finished"


@dataclass(frozen=True)
class Attempt:
    """One attempt to run a node, from `started` to `ended`, both in seconds since the run began."""

    node: str
    model: str | None
    places: tuple[str, ...]
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
        """How long it took."""
        return self.ended - self.started


def attempts_of(timeline: Timeline) -> list[Attempt]:
    """Return every attempt that has ended, in the order of their start; whoever reads a timeline is in it, running."""
    began = timeline["began"]
    ended = [
        Attempt(
            node=row["node"],
            model=row["model"],
            places=tuple(row["places"]),
            started=row["started"] - began,
            ended=row["ended"] - began,
            status=row["status"],
            attempt=row["attempt"],
        )
        for row in timeline["nodes"]
        if row["ended"] is not None
    ]
    return sorted(ended, key=lambda attempt: (attempt.started, attempt.ended))


def by_place(timeline: Timeline, attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    """Return what ran at each place: all of the machine's in their order, then others where something ran."""
    found: dict[str, list[Attempt]] = {place: [] for place in timeline["places"]}
    for attempt in attempts:
        for place in attempt.places:
            found.setdefault(place, []).append(attempt)
    return found


def seconds_of(attempts: Iterable[Attempt]) -> float:
    """Return how long the run has lasted when the last of the attempts ends, 0 where there is none."""
    return max((attempt.ended for attempt in attempts), default=0.0)


def busy_seconds(attempts: Sequence[Attempt]) -> float:
    """Return how long at least one of the attempts, in the order of their start, was under way."""
    busy = until = 0.0
    for attempt in attempts:
        busy += max(attempt.ended - max(attempt.started, until), 0)
        until = max(until, attempt.ended)
    return busy


def lanes_of(attempts: Sequence[Attempt]) -> list[int]:
    """Return for each of the attempts, in the order of their start, the first lane that nobody else is in."""
    free_from: list[float] = []
    lanes = []
    for attempt in attempts:
        lane = next((lane for lane, time in enumerate(free_from) if time <= attempt.started), len(free_from))
        free_from[lane : lane + 1] = [attempt.ended]
        lanes.append(lane)
    return lanes


def unit_of(seconds: float) -> tuple[str, str, float]:
    """Return the unit in which so long a time is told, its sign, and how many seconds it has."""
    if seconds < 180:
        return "seconds", "s", 1
    return ("minutes", "min", 60) if seconds < 3 * 3600 else ("hours", "h", 3600)
