"""The style of figures: colours that colour-blind readers can tell apart, and SVG in the colours of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from numpy import ndarray
from pandas import Series

# Greys of these figures alone: a page replaces them by its own colours for text, notes and lines, light or dark.
INK, MUTED, LINES = "#1b1b1f", "#6b6b70", "#d9d9de"
# Okabe and Ito's palette, without the yellow, which is faint on white.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
PALETTE = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7fd5")
# From nothing to blue, so that an empty cell has the colour of the page.
SHADES = LinearSegmentedColormap.from_list("shades", [(0, 0.447, 0.698, 0), (0, 0.447, 0.698, 1)])

_STYLE: Any = {
    "axes.edgecolor": LINES,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "font.size": 9,
    "grid.color": LINES,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called "$1"
    "xtick.color": LINES,
    "ytick.color": LINES,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}


@contextmanager
def sheet(width: float, height: float) -> Iterator[Figure]:
    """Yield a figure of that many inches in the common style; it needs neither pyplot nor a screen."""
    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def heatmap(axes: Axes, shares: ndarray, texts: ndarray | None, rows: list[str], columns: list[str]) -> None:
    """Shade the cells by `shares` in [0, 1], small ones visibly, and write `texts` into them."""
    axes.imshow(shares, cmap=SHADES, norm=PowerNorm(0.6, 0, 1), aspect="equal", interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    size = 8 if len(columns) <= 20 else 5.5
    upright = max(map(len, columns)) > (5 if len(columns) <= 20 else 2)
    axes.set_xticks(range(len(columns)), columns, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(range(len(rows)), rows, fontsize=size)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    if texts is None:
        return
    for row in range(len(rows)):
        for column in range(len(columns)):
            dark = shares[row, column] > 0.4
            axes.text(
                column,
                row,
                str(texts[row, column]),
                ha="center",
                va="center",
                fontsize=size,
                color="white" if dark else INK,
            )


def band(axes: Axes, groups: Any, colour: str, label: str, opacity: float = 0.2) -> Series:
    """Draw the mean of each group as a line, the range from lowest to highest as a band; return the means."""
    mean, low, high = groups.mean(), groups.min(), groups.max()
    axes.plot(mean.index, mean, color=colour, label=label, marker="." if len(mean) == 1 else None)
    axes.fill_between(mean.index, low, high, color=colour, alpha=opacity, linewidth=0)
    return mean


def inline_svg(figure: Figure, name: str) -> str:
    """Return the figure as an SVG element for a page whose CSS sets --ink, --muted and --lines."""
    # Text stays text, ids come from `name` and the date goes: the same figure gives the same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for colour, variable in ((INK, "--ink"), (MUTED, "--muted"), (LINES, "--lines")):
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Ids such as figure_1 would occur once in each figure of the page.
    return re.sub(r'(?<=<g id=")', f"{name}_", svg)
