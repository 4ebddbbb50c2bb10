"""The bars of a timeline: coloured by stage, hatched where a node did not finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle

from knowledge_transfer.reporting.style import BLUE, GREEN, MUTED, ORANGE, PALETTE
from knowledge_transfer.reporting.timeline import FINISHED, Attempt

# The students have two blues, the reference arms the orange that is theirs in the figure of accuracies.
_COLOURS = {
    "data_preparation": PALETTE[6],
    "student_training": BLUE,
    "target_distillation": GREEN,
    "reverse_distillation": PALETTE[5],
    "reference_arms": ORANGE,
    "evaluation": PALETTE[3],
}
_OTHER = PALETTE[7]
_SHARE = 0.8  # of a lane's height
_HATCH = "/////"


@dataclass(frozen=True)
class Bar:
    """An attempt as it is drawn in one lane, which begins at `top` and is `lane` high."""

    attempt: Attempt
    top: float
    lane: float

    @property
    def colour(self) -> str:
        """The colour of the stage."""
        return _COLOURS.get(self.attempt.stage, _OTHER)

    @property
    def low(self) -> float:
        """Where it begins, counted from above."""
        return self.top + self.lane * (1 - _SHARE) / 2

    @property
    def high(self) -> float:
        """Where it ends."""
        return self.low + self.lane * _SHARE

    @property
    def is_whole(self) -> bool:
        """Whether the node finished."""
        return self.attempt.status == FINISHED


def key_of(attempts: Sequence[Attempt], size: float, unit: str) -> list[Artist]:
    """Return what colours and hatching mean; each stage has the time of its attempts, in units of `size` seconds."""
    patches: list[Artist] = []
    for stage, colour in _COLOURS.items():
        if times := [attempt.seconds for attempt in attempts if attempt.stage == stage]:
            title = stage.rpartition(".")[2].replace("_", " ")
            patches.append(Patch(color=colour, label=f"{title}, {sum(times) / size:.1f} {unit}"))
    if ends := dict.fromkeys(attempt.status for attempt in attempts if attempt.status != FINISHED):
        patches.append(Patch(facecolor="none", edgecolor=MUTED, hatch=_HATCH, label=" or ".join(ends)))
    return patches


def draw_bars(axes: Axes, bars: Sequence[Bar]) -> None:
    """Draw every bar, and a pale band between the bars of one attempt at several places."""
    left, right = axes.get_xlim()
    thin = (right - left) / 700
    for bar in bars:
        axes.add_patch(
            Rectangle(
                (bar.attempt.started, bar.low),
                # Neighbours do not touch, and what took no time at all is still seen.
                max(bar.attempt.seconds - thin, thin),
                bar.high - bar.low,
                facecolor=bar.colour if bar.is_whole else "none",
                edgecolor="none" if bar.is_whole else bar.colour,
                hatch=None if bar.is_whole else _HATCH,
                zorder=2,
            )
        )
    for attempt in dict.fromkeys(bar.attempt for bar in bars if len(bar.attempt.places) > 1):
        for above, below in pairwise(bar for bar in bars if bar.attempt == attempt):
            corner, size = (attempt.started, above.high), (attempt.seconds - thin, below.low - above.high)
            axes.add_patch(Rectangle(corner, *size, facecolor=above.colour, alpha=0.45, linewidth=0))
