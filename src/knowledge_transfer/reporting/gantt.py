"""Where the time of a run went: what ran where and when, and how much of the time each place was in use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from knowledge_transfer.reporting.style import LINES, MUTED, sheet
from knowledge_transfer.reporting.timeline import (
    Attempt,
    Timeline,
    attempts_of,
    busy_seconds,
    by_place,
    lanes_of,
    seconds_of,
    unit_of,
)
from knowledge_transfer.reporting.timeline_bars import Bar, draw_bars, key_of
from knowledge_transfer.reporting.timeline_names import write_names

_LANE = 0.38  # inches
_ALL_LANES = 1.7  # inches at least: where lanes are few, names stand upright in bars
_SIDE_LANE = 0.4  # of a lane, for what runs beside the devices, which is never long
_GAP = 0.3  # of a lane, between two rows
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 60)  # between ticks, in any unit


def measure_device_use(timeline: Timeline, *_earlier: object) -> pd.DataFrame:
    """Return for each place how many nodes ran there, and how long and for what share of the run it was in use.

    Two nodes at once are counted once. What else is given has been made before, which is all that is asked of it.
    """
    attempts = attempts_of(timeline)
    rows = [
        {
            "place": place,
            "nodes": len({attempt.node for attempt in here}),
            "busy_seconds": busy_seconds(here),
            "share": busy_seconds(here) / (seconds_of(attempts) or 1),
        }
        for place, here in by_place(timeline, attempts).items()
    ]
    return pd.DataFrame(rows)


def draw_timeline(timeline: Timeline, *_earlier: object) -> Figure:
    """Return a row for each place and a bar for each attempt to run a node, hatched where it did not finish.

    What else is given has been made before, which is all that is asked of it.
    """
    attempts = attempts_of(timeline)
    if not attempts:
        return _nothing()
    seconds, rows = seconds_of(attempts) or 1.0, list(_rows(timeline, attempts))
    unit, sign, size = unit_of(seconds)
    bottom = rows[-1].bottom + _GAP / 2
    with sheet(9.2, 1.25 + max(_LANE * bottom, _ALL_LANES)) as figure:
        axes = figure.subplots()
        axes.set(xlim=(0, seconds), ylim=(bottom, -_GAP / 2), yticks=[], xlabel=f"{unit} since the run began")
        step = next((step for step in _STEPS if seconds / size / step <= 10), _STEPS[-1])
        axes.xaxis.set_major_locator(MultipleLocator(step * size))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda time, _: f"{time / size:g}"))
        axes.spines["left"].set_visible(False)
        figure.legend(handles=key_of(attempts, size, sign), loc="outside upper left", ncols=4, handlelength=1.2)
        _write_right(axes, "in use", -_GAP / 2, lift=6)
        for row in rows:
            _draw_row(axes, row, busy_seconds(row.attempts) / seconds)
        bars = [bar for row in rows for bar in row.bars()]
        draw_bars(axes, bars)
        figure.draw_without_rendering()
        write_names(axes, bars, figure.dpi)
    return figure


@dataclass(frozen=True)
class _Row:
    """The attempts at one place, between `top` and `bottom`, counted in lanes from above."""

    place: str
    attempts: list[Attempt]
    top: float
    lane: float

    @property
    def bottom(self) -> float:
        return self.top + self.lane * (max(lanes_of(self.attempts), default=0) + 1)

    def bars(self) -> Iterator[Bar]:
        for attempt, lane in zip(self.attempts, lanes_of(self.attempts), strict=True):
            yield Bar(attempt, self.top + lane * self.lane, self.lane)


def _rows(timeline: Timeline, attempts: list[Attempt]) -> Iterator[_Row]:
    top = 0.0
    for place, here in by_place(timeline, attempts).items():
        row = _Row(place, here, top, 1 if place in timeline["places"] else _SIDE_LANE)
        yield row
        top = row.bottom + _GAP


def _nothing() -> Figure:
    with sheet(9.2, 0.6) as figure:
        axes = figure.subplots()
        axes.set_axis_off()
        axes.text(0, 0.5, "no node has ended yet", va="center", color=MUTED)
    return figure


def _draw_row(axes: Axes, row: _Row, share: float) -> None:
    """Draw the ground of a row, which shows where its place was idle, and what stands beside it."""
    left, right = axes.get_xlim()
    middle = (row.top + row.bottom) / 2
    axes.barh(middle, right - left, row.bottom - row.top, left=left, color=LINES, alpha=0.4, zorder=0.5)
    axes.annotate(
        row.place,
        (0, middle),
        xycoords=("axes fraction", "data"),
        xytext=(-6, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        annotation_clip=False,
    )
    _write_right(axes, f"{share:.0%}", middle)


def _write_right(axes: Axes, text: str, place: float, lift: int = 0) -> None:
    """Write into the column right of the rows."""
    axes.annotate(
        text,
        (1, place),
        xycoords=("axes fraction", "data"),
        xytext=(34, lift),
        textcoords="offset points",
        ha="right",
        va="center",
        color=MUTED,
        annotation_clip=False,
    )
