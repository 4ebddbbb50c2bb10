"""The overview of a run: every model before and after transfer, and its reference arm."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from knowledge_transfer.experiment.stage_config import CONTINUED, ENSEMBLE, TAUGHT
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.evaluation.metrics import standard_error
from knowledge_transfer.pipelines.evaluation.predictions import MAIN_RULE, MOST_CONFIDENT, ORACLE_ROUTED
from knowledge_transfer.reporting.columns import records
from knowledge_transfer.reporting.style import BLUE, LINES, MUTED, ORANGE, sheet

_TARGET_ARMS = {
    "labels": "labels alone",
    "no_labels": "teachers alone",
    "label_smoothing": "smoothed labels",
    "all_labels": "all labels (ceiling)",
}
_COLUMNS = (54, 102, 146, 212)  # points
_HEADINGS = {"○ before": BLUE, "× taught": BLUE, "● after": BLUE, "◆ reference": ORANGE}
Row = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One line of the figure: the accuracies of one model round by round, as taught, and of its reference arm."""

    name: str
    path: tuple[Row, ...] = ()
    taught: Row | None = None
    reference: Row | None = None

    @property
    def columns(self) -> tuple[Row | None, ...]:
        """The model before transfer, as the last round taught it and after it, if there is one, and its reference."""
        first, last = (self.path[0], self.path[-1]) if self.path else (None, None)
        before, after = first if first and not first["round"] else None, last if last and last["round"] else None
        return before, self.taught, after, self.reference

    @property
    def label(self) -> str:
        """Its name, marked where one of the models has not learned."""
        has_collapsed = any(row and row.get("warning") for row in (*self.path, self.taught, self.reference))
        return f"{self.name} (collapsed)" if has_collapsed else self.name


class _Scores:
    """The rows of the metrics, by model, arm, round and domain."""

    def __init__(self, metrics: pd.DataFrame) -> None:
        self._rows: dict[tuple[str, str | None, int, str], Row] = {}
        for row in records(metrics):
            self._rows[row["of"], row["arm"], row["round"], row["domain"]] = row
        self._last = int(metrics["round"].max())

    def line(self, name: str, of: str, domain: str, *, arm: str | None = None, beside: str | None = None) -> Line:
        """Return the line of a model through all its rounds, with the reference arm `beside` it after the last one."""
        taught = self._rows.get((of, TAUGHT, self._last, domain))
        path = [self._rows.get((of, arm, round_, domain)) for round_ in range(self._last + 1)]
        reference = None if beside is None else self._rows.get((of, beside, self._last, domain))
        return Line(name, tuple(row for row in path if row), taught, reference)

    def arms(self, target: str, domain: str, prefix: str = "") -> Iterator[Line]:
        """Yield a line for each reference arm of the target that was trained."""
        for arm, name in _TARGET_ARMS.items():
            if row := self._rows.get((target, arm, self._last, domain)):
                yield Line(f"{prefix}{target}, {name}", reference=row)


def draw_before_and_after(metrics: pd.DataFrame) -> Figure:
    """Return accuracies of all models before and after transfer; of a mix one panel with, one without the domain."""
    panels = _panels_of_mix(metrics) if metrics["domain"].nunique() > 1 else {"": list(_lines(metrics))}
    heights = [len(lines) for lines in panels.values()]
    with sheet(8.4, 0.5 + 0.7 * len(panels) + 0.3 * sum(heights)) as figure:
        grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, (title, lines) in zip(grid, panels.items(), strict=True):
            _panel(axes, lines)
            axes.set_title(title, x=-0.02, ha="right")
        grid[-1].set_xlabel("accuracy on the test images, with one standard error")
        for offset, (heading, colour) in zip(_COLUMNS, _HEADINGS.items(), strict=True):
            _number(grid[0], heading, -0.85, offset, colour)
    return figure


def _lines(metrics: pd.DataFrame) -> Iterator[Line]:
    """Yield students, ensemble, target, each with its reference arms."""
    scores, domain, target = _Scores(metrics), metrics["domain"].iloc[0], _target(metrics)
    for student in metrics.loc[metrics["stage"] == "before", "of"]:
        yield scores.line(student, student, domain, beside=CONTINUED)
    yield scores.line("ensemble", ENSEMBLE, domain, arm=MAIN_RULE)
    without = metrics[(metrics["of"] == ENSEMBLE) & (metrics["stage"] == "reference") & (metrics["round"] == 0)]
    for row in records(without):
        yield Line(f"ensemble {row['arm']}", reference=row)
    yield scores.line(target, target, domain)
    yield from scores.arms(target, domain)


def _panels_of_mix(metrics: pd.DataFrame) -> dict[str, list[Line]]:
    """Return the lines of two panels: the domain known (each domain, then the mix), and unknown (the mix alone)."""
    scores, target, known = _Scores(metrics), _target(metrics), []
    for domain, students in metrics[metrics["stage"] == "before"].groupby("domain", sort=False):
        where = str(domain)
        known += [scores.line(f"{where}: {name}", name, where, beside=CONTINUED) for name in students["of"]]
        known.append(scores.line(f"{where}: {target}", target, where, beside="labels"))
    joint = _Scores(_with_joint_accuracy(metrics))
    return {
        "domain known": [*known, *_of_mix(scores, target, "students, routed by an oracle", ORACLE_ROUTED)],
        "domain unknown": list(_of_mix(joint, target, "students, the most confident", MOST_CONFIDENT)),
    }


def _of_mix(scores: _Scores, target: str, students: str, rule: str) -> Iterator[Line]:
    yield scores.line(f"mix: {students}", ENSEMBLE, ALL, arm=rule)
    yield scores.line(f"mix: {target}", target, ALL)
    yield from scores.arms(target, ALL, "mix: ")


def _with_joint_accuracy(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the whole mix with the joint accuracy, and its error, as the accuracy."""
    mixed = metrics[metrics["domain"] == ALL]
    shares = zip(mixed["joint_accuracy"], mixed["images"], strict=True)
    errors = [standard_error(share, images) for share, images in shares]
    return mixed.assign(accuracy=mixed["joint_accuracy"], standard_error=errors)


def _target(metrics: pd.DataFrame) -> str:
    return str(metrics.loc[metrics["stage"] == "target", "of"].iloc[0])


def _panel(axes: Axes, lines: Sequence[Line]) -> None:
    for position, line in enumerate(lines):
        _draw(axes, position, line)
    axes.set_yticks(range(len(lines)), [line.label for line in lines])
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(False)
    low, high = axes.get_xlim()
    # No steps of 2.5: whole percents would round them.
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low > 0.05 else 1))


def _draw(axes: Axes, position: int, line: Line) -> None:
    axes.axhline(position, color=LINES, linewidth=0.5, zorder=0)
    axes.plot([row["accuracy"] for row in line.path], [position] * len(line.path), color=BLUE, linewidth=2, alpha=0.4)
    before, taught, after, reference = line.columns
    for row in line.path:
        # A wide ring before, a dot after: both are visible where nothing has changed.
        size = 10 if row is before else 6 if row is after else 3
        _point(axes, row, position, "o", BLUE, "none" if row is before else BLUE, size)
    if taught:
        _point(axes, taught, position - 0.24, "x", BLUE, BLUE, 5)
    if reference:
        _point(axes, reference, position + (0.24 if line.path else 0), "D", ORANGE, ORANGE, 5)
    for offset, shown in zip(_COLUMNS, line.columns, strict=True):
        if shown:
            _number(axes, f"{100 * shown['accuracy']:.1f}", position, offset, MUTED)


def _point(axes: Axes, row: Row, position: float, marker: str, colour: str, fill: str, size: float) -> None:
    look: Any = {"color": colour, "markerfacecolor": fill, "markersize": size, "elinewidth": 1, "zorder": 3}
    axes.errorbar(row["accuracy"], position, xerr=row["standard_error"], fmt=marker, **look)


def _number(axes: Axes, text: str, position: float, offset: int, colour: str) -> None:
    """Write into a column `offset` points right of the axes."""
    where: Any = {"xycoords": ("axes fraction", "data"), "xytext": (offset, 0), "textcoords": "offset points"}
    axes.annotate(text, (1, position), **where, ha="right", va="center", color=colour, annotation_clip=False)
