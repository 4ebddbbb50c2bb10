"""The names in a timeline: in the bar, beside it or upright, as long as they fit and hide nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from knowledge_transfer.reporting.style import INK
from knowledge_transfer.reporting.timeline_bars import Bar

_WHITE, _BLACK = "#ffffff", "#101014"  # on a bar, whatever the ink of the page
_POINTS = 7.5
_MARGIN = 4  # points on both sides of a name together
_SLACK = 1.07  # letters are of whole pixels, so that at another resolution a name is longer
_LEAST = 0.008  # of the whole time, below which a bar has no name: another's would be taken for its


def write_names(axes: Axes, bars: Sequence[Bar], dpi: float) -> None:
    """Write the model or the node to every bar of some length, in the first form that fits, if any does.

    The layout must have run, for it decides how large a bar is.
    """
    left, right = axes.get_xlim()
    for bar in bars:
        if bar.attempt.seconds < _LEAST * (right - left):
            continue
        later = [each.attempt.started for each in bars if each.top == bar.top]
        following = min((start for start in later if start >= bar.attempt.ended), default=right)
        for start, end, form in _forms(bar, following):
            if _wrote(axes, bar, start, end, form, _MARGIN * dpi / 72):
                break


def _forms(bar: Bar, following: float) -> Iterator[tuple[float, float, dict[str, Any]]]:
    """Yield between which times the name may stand and how, the most legible way first."""
    attempt = bar.attempt
    name = attempt.model or attempt.name
    name = name if bar.is_whole else f"{name}, {attempt.status}"
    folded = [f"{name[:place]}\n{name[place:]}" for place in range(1, len(name)) if name[place - 1] in "_ "]
    two_lines = min(folded, key=lambda text: max(map(len, text.split("\n"))), default=name)
    within: dict[str, Any] = {"color": _ink_on(bar.colour)}
    if not bar.is_whole:
        # On hatching a name needs a ground.
        within["bbox"] = {"facecolor": bar.colour, "edgecolor": "none", "pad": 1.5}
    yield attempt.started, attempt.ended, {"s": name, **within}
    yield attempt.started, attempt.ended, {"s": two_lines, **within}
    for text in (name, two_lines):
        yield attempt.ended, following, {"s": text, "color": INK, "ha": "left", "multialignment": "left"}
    for text in (name, two_lines):
        yield attempt.started, attempt.ended, {"s": text, "rotation": 90, **within}


def _wrote(axes: Axes, bar: Bar, start: float, end: float, form: dict[str, Any], margin: float) -> bool:
    """Write the name between two times, `margin` pixels apart from both, if there is room; return whether there was."""
    (left, low), (right, high) = axes.transData.transform([(start, bar.high), (end, bar.low)])
    beside = form.get("ha") == "left"
    x, y = axes.transData.inverted().transform((left + margin if beside else (left + right) / 2, (low + high) / 2))
    text = axes.text(x, y, **{"ha": "center", "va": "center", "multialignment": "center", "linespacing": 1.1, **form})
    text.set(fontsize=_POINTS, in_layout=False, zorder=3)
    room = text.get_window_extent()
    fits = _SLACK * room.width + margin * (1 + beside) <= right - left and _SLACK * room.height <= high - low
    if not fits:
        text.remove()
    return bool(fits)


def _ink_on(colour: str) -> str:
    """Return white or black, whichever is the more legible on the colour."""
    red, green, blue = (part / 12.92 if part <= 0.04 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(colour))
    # At this luminance, as WCAG 2 has it, the contrast with black is that with white.
    return _BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else _WHITE
