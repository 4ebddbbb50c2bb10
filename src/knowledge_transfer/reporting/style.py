"""The style of figures: colours that colour-blind readers can tell apart, and SVG in the colours of the page."""

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

# A page replaces these greys by its own colours for text, notes and lines, light or dark.
INK, MUTED, LINES = "#1b1b1f", "#6b6b70", "#d9d9de"
# Okabe and Ito's palette, without the yellow, which is faint on white.
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
PALETTE = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7fd5")
# From transparent to blue: an empty cell has the colour of the page.
SHADES = LinearSegmentedColormap.from_list("shades", [(0, 0.447, 0.698, 0), (0, 0.447, 0.698, 1)])

_STYLE: Any = {
    **dict.fromkeys(("axes.edgecolor", "grid.color", "xtick.color", "ytick.color"), LINES),
    **dict.fromkeys(
        ("axes.titlecolor", "legend.labelcolor", "text.color", "xtick.labelcolor", "ytick.labelcolor"), INK
    ),
    **dict.fromkeys(("axes.spines.right", "axes.spines.top", "legend.frameon"), False),
    **{"axes.axisbelow": True, "axes.grid": True, "axes.labelcolor": MUTED, "font.size": 9, "grid.linewidth": 0.6},
    **{"axes.titlelocation": "left", "axes.titlesize": 10, "axes.titleweight": "bold"},
    "text.parse_math": False,  # a class may be called "$1"
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
    for (row, column), text in np.ndenumerate([] if texts is None else texts):
        colour = "white" if shares[row, column] > 0.4 else INK
        axes.text(column, row, str(text), ha="center", va="center", fontsize=size, color=colour)


def band(axes: Axes, groups: Any, colour: str, label: str, opacity: float = 0.2) -> Series:
    """Draw the mean of each group as a line, the range from lowest to highest as a band; return the means."""
    mean, low, high = groups.mean(), groups.min(), groups.max()
    axes.plot(mean.index, mean, color=colour, label=label, marker="." if len(mean) == 1 else None)
    axes.fill_between(mean.index, low, high, color=colour, alpha=opacity, linewidth=0)
    return mean


def error_bars(axes: Axes, groups: Any, **look: Any) -> None:
    """Draw the mean of each group with bars of one standard error."""
    mean = groups.mean()
    axes.errorbar(mean.index, mean, groups.sem().fillna(0), capsize=2, **look)


def inline_svg(figure: Figure, name: str) -> str:
    """Return the figure as an SVG element for a page whose CSS sets --ink, --muted and --lines."""
    # Text stays text, ids come from `name`, no date: the same figure has the same bytes.
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
