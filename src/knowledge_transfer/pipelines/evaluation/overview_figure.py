"""The figure that tells the run: who was how good before, after, and without a teacher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from knowledge_transfer.pipelines.evaluation.lines import TARGET_ARMS, Line, Measured
from knowledge_transfer.pipelines.evaluation.mix_figures import panels_of_mix
from knowledge_transfer.reporting.style import BLUE, LINES, MUTED, ORANGE, sheet

_ENSEMBLE = "ensemble_mean_probabilities"
_COLUMNS = (54, 98, 164)  # points
_HEADINGS = {"○ before": BLUE, "● after": BLUE, "◆ reference": ORANGE}


def draw_before_and_after(metrics: pd.DataFrame) -> Figure:
    """Return every student and the ensemble before and after, the target and the reference arms.

    Of a mix there is a panel of answers given once the domain is known, and one of those given without it.
    """
    panels = panels_of_mix(metrics) if metrics["domain"].nunique() > 1 else {"": list(_lines(metrics))}
    heights = [len(lines) for lines in panels.values()]
    with sheet(7.8, 0.5 + 0.7 * len(panels) + 0.3 * sum(heights)) as figure:
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, lines) in zip(grid, panels.items(), strict=True):
            _panel(axes, lines)
            axes.set_title(title, x=-0.02, ha="right")
        grid[-1].set_xlabel("accuracy on the test images, with one standard error")
        for offset, (heading, colour) in zip(_COLUMNS, _HEADINGS.items(), strict=True):
            _number(grid[0], heading, -0.85, offset, colour)
    return figure


def _panel(axes: Axes, lines: Sequence[Line]) -> None:
    for place, line in enumerate(lines):
        _draw(axes, place, line)
    axes.set_yticks(range(len(lines)), [line.name for line in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    low, high = axes.get_xlim()
    # Without steps of 2.5, which whole percents would round.
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low > 0.05 else 1))


def _lines(metrics: pd.DataFrame) -> Iterator[Line]:
    """Yield students, ensemble, target, each with what it stands beside."""
    records: list[Any] = metrics.to_dict("records")
    rows: dict[tuple[str, int], Measured] = {(row["model"], row["round"]): row for row in records}
    last = int(metrics["round"].max())

    def path(model: str) -> tuple[Measured, ...]:
        return tuple(rows[model, round_] for round_ in range(last + 1) if (model, round_) in rows)

    for student in metrics.loc[metrics["stage"] == "before", "model"]:
        yield Line(student, path(student), rows.get((f"{student}_continued", last)))
    yield Line("ensemble", path(_ENSEMBLE))
    for model in metrics.loc[metrics["model"].str.startswith("ensemble_without_") & (metrics["round"] == 0), "model"]:
        yield Line(str(model).replace("_without_", " without "), reference=rows[model, 0])
    (target,) = metrics.loc[metrics["stage"] == "target", "model"].unique()
    yield Line(target, path(target))
    for arm, name in TARGET_ARMS.items():
        if (f"{target}_{arm}", last) in rows:
            yield Line(f"{target}, {name}", reference=rows[f"{target}_{arm}", last])


def _draw(axes: Axes, place: int, line: Line) -> None:
    axes.axhline(place, color=LINES, linewidth=0.5, zorder=0)
    axes.plot([row["accuracy"] for row in line.path], [place] * len(line.path), color=BLUE, linewidth=2, alpha=0.4)
    for row in line.path:
        # A wide ring before, a dot after: both are seen where nothing has changed.
        size = 10 if row is line.before else 6 if row is line.after else 3
        _point(axes, row, place, "o", BLUE, "none" if row is line.before else BLUE, size)
    if line.reference:
        _point(axes, line.reference, place + (0.24 if line.path else 0), "D", ORANGE, ORANGE, 5)
    for offset, shown in zip(_COLUMNS, (line.before, line.after, line.reference), strict=True):
        if shown:
            _number(axes, f"{100 * shown['accuracy']:.1f}", place, offset, MUTED)


def _point(axes: Axes, row: Measured, place: float, marker: str, colour: str, fill: str, size: float) -> None:
    axes.errorbar(
        row["accuracy"],
        place,
        xerr=row["standard_error"],
        fmt=marker,
        color=colour,
        markerfacecolor=fill,
        markersize=size,
        elinewidth=1,
        zorder=3,
    )


def _number(axes: Axes, text: str, place: float, offset: int, colour: str) -> None:
    """Write into a column `offset` points right of the axes."""
    axes.annotate(
        text,
        (1, place),
        xycoords=("axes fraction", "data"),
        xytext=(offset, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        color=colour,
        annotation_clip=False,
    )
