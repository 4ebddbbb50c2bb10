"""The figures of the study dark_knowledge."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from knowledge_transfer.pipelines.dark_knowledge.settings import FAILURE_MODE, LEARNERS, TAUGHT, TEACHER
from knowledge_transfer.pipelines.dark_knowledge.summary_text import ARMS, NAMES, PUBLISHED, name_of
from knowledge_transfer.reporting.style import BLUE, INK, MUTED, ORANGE, PALETTE, band, sheet

_COLOURS = {"taught": BLUE, "alone": ORANGE}


def draw_epochs(curves: pd.DataFrame) -> Figure:
    """Return validation accuracy over the epochs of both learners in both arms, beside the published curves."""
    with sheet(9.2, 3.8) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, learner in zip((left, right), LEARNERS, strict=True):
            for arm, colour in _COLOURS.items():
                of_arm = curves[(curves["learner"] == learner) & (curves["arm"] == arm)]
                band(axes, _accuracy(of_arm), colour, f"{ARMS[arm]} the soft loss, ours")
            end = curves.loc[curves["learner"] == TEACHER, "validation_accuracy"].iloc[-1]
            axes.axhline(end, color=INK, linestyle=":", linewidth=1, label="our teacher, at its end")
            _dress(axes, NAMES[learner])
        for arm, colour in _COLOURS.items():
            epochs = range(1, len(PUBLISHED[arm]) + 1)
            left.plot(
                epochs, PUBLISHED[arm], color=colour, linestyle="--", linewidth=1, label=f"{ARMS[arm]}, published"
            )
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def draw_failure_modes(curves: pd.DataFrame, diagnosis: pd.DataFrame) -> Figure:
    """Return validation accuracy over the epochs of the smaller CNN, taught, and of each of its failure modes."""
    rows = curves[(curves["arm"] == FAILURE_MODE) | ((curves["learner"] == LEARNERS[-1]) & (curves["arm"] == TAUGHT))]
    with sheet(9.2, 3.6) as figure:
        axes = figure.subplots()
        for number, learner in enumerate([LEARNERS[-1], *dict.fromkeys(rows[rows["arm"] == FAILURE_MODE]["learner"])]):
            band(axes, _accuracy(rows[rows["learner"] == learner]), PALETTE[number % len(PALETTE)], name_of(learner))
        axes.axhline(diagnosis["chance"].iloc[0], color=INK, linestyle=":", linewidth=1, label="chance")
        _dress(axes, "validation accuracy: lines are means over seeds, bands reach from the lowest to the highest")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _accuracy(curves: pd.DataFrame) -> Any:
    return curves.groupby("epoch")["validation_accuracy"]


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("epoch", color=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylim(bottom=0)
