"""The timeline of a run on a page: a row for each model and stage, a bar for each attempt to run a node."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from knowledge_transfer.reporting.columns import Column
from knowledge_transfer.reporting.page import Drawn, Section, Table
from knowledge_transfer.reporting.style import BLUE, GREEN, MUTED, ORANGE, PALETTE, sheet
from knowledge_transfer.reporting.timeline import (
    FINISHED,
    Attempt,
    Timeline,
    attempts_of,
    seconds_of,
    sentences,
    unit_of,
)

# The students have two blues, the reference arms the orange of the overview.
_COLOURS = {
    "data_preparation": PALETTE[6],
    "student_training": BLUE,
    "target_distillation": GREEN,
    "reverse_distillation": PALETTE[5],
    "reference_arms": ORANGE,
    "evaluation": PALETTE[3],
}
_OTHER = PALETTE[7]
_HATCH = "/////"
_ROW = 0.22  # inches
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 60)  # between ticks, in any unit
_SLOWEST = 8
_CAPTION = (
    "Each bar is a node of this run, until the report. A row has the nodes of one model, or those of a stage that "
    "train none. On the right are the devices. The legend has the total time of each stage."
)


def sections(timeline: Timeline) -> list[Section]:
    """Return the section on where the time went, none if no node has ended."""
    attempts = attempts_of(timeline)
    if not attempts:
        return []
    is_broken = any(attempt.status != FINISHED for attempt in attempts)
    caption = f"{_CAPTION} Hatched: did not finish." if is_broken else _CAPTION
    drawn = Drawn("timeline", draw_timeline(timeline), caption)
    return [Section("Where the time went", sentences(timeline), [drawn], [slowest_nodes(attempts)])]


def slowest_nodes(attempts: Sequence[Attempt]) -> Table:
    """Return a table of the slowest attempts: node, device, time, share of the run."""
    whole = seconds_of(attempts)
    unit, _, size = unit_of(whole)
    rows = [
        {
            "node": each.node,
            "remark": "" if each.status == FINISHED else each.status,
            "device": _devices([each]),
            "time": f"{each.seconds / size:.1f}",
            "share": each.seconds / (whole or 1),
        }
        for each in sorted(attempts, key=lambda attempt: -attempt.seconds)[:_SLOWEST]
    ]
    columns = [
        Column("node", "node", remark="remark"),
        Column("device", "device"),
        Column("time", unit),
        Column("share", "% of the run", "percent"),
    ]
    return Table(pd.DataFrame(rows), columns, title="The slowest nodes")


def draw_timeline(timeline: Timeline, *_earlier: object) -> Figure:
    """Return a bar for each attempt to run a node, by model and stage. Further inputs only order this node."""
    attempts = attempts_of(timeline)
    if not attempts:
        with sheet(9.2, 0.6) as figure:
            figure.text(0, 0.5, "no node has ended yet", va="center", color=MUTED)
        return figure
    rows: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        rows.setdefault(attempt.model or _title(attempt.stage or attempt.name), []).append(attempt)
    with sheet(9.2, 1.1 + _ROW * len(rows)) as figure:
        axes = figure.subplots()
        for row, here in enumerate(rows.values()):
            _draw_bars(axes, row, here)
        size, sign = _scale_time(axes, seconds_of(attempts) or 1.0)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), list(rows))
        devices = axes.secondary_yaxis("right")
        devices.set_yticks(range(len(rows)), [_devices(here) for here in rows.values()])
        for side in (axes, devices):
            side.tick_params(axis="y", length=0)
        devices.tick_params(axis="y", labelcolor=MUTED)
        figure.legend(handles=legend_of(attempts, size, sign), loc="outside upper left", ncols=4, handlelength=1.2)
    return figure


def legend_of(attempts: Sequence[Attempt], size: float, unit: str) -> list[Artist]:
    """Return the legend of colours and hatching, with the time of each stage in units of `size` seconds."""
    patches: list[Artist] = []
    for stage, colour in _COLOURS.items():
        if times := [attempt.seconds for attempt in attempts if attempt.stage == stage]:
            patches.append(Patch(color=colour, label=f"{_title(stage)}, {sum(times) / size:.1f} {unit}"))
    if ends := dict.fromkeys(attempt.status for attempt in attempts if attempt.status != FINISHED):
        patches.append(Patch(facecolor="none", edgecolor=MUTED, hatch=_HATCH, label=" or ".join(ends)))
    return patches


def _draw_bars(axes: Axes, row: int, attempts: Sequence[Attempt]) -> None:
    for attempt in attempts:
        colour, is_whole = _COLOURS.get(attempt.stage, _OTHER), attempt.status == FINISHED
        axes.barh(
            row,
            attempt.seconds,
            left=attempt.started,
            facecolor=colour if is_whole else "none",
            edgecolor=colour,  # so that a bar of no length is visible
            linewidth=0.7,
            hatch=None if is_whole else _HATCH,
            zorder=2,
        )


def _scale_time(axes: Axes, seconds: float) -> tuple[float, str]:
    """Set the axis of time; return how many seconds its unit has, and the sign of the unit."""
    unit, sign, size = unit_of(seconds)
    step = next((step for step in _STEPS if seconds / size / step <= 10), _STEPS[-1])
    axes.set(xlim=(0, seconds * 1.005), xlabel=f"{unit} since the run began")
    axes.xaxis.set_major_locator(MultipleLocator(step * size))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda time, _: f"{time / size:g}"))
    return size, sign


def _devices(attempts: Sequence[Attempt]) -> str:
    return ", ".join(dict.fromkeys(device for attempt in attempts for device in attempt.devices))


def _title(stage: str) -> str:
    return stage.rpartition(".")[2].replace("_", " ")
