"""Figures and page of the study dark_knowledge."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from knowledge_transfer.experiment.study_tables import Page, table_of
from knowledge_transfer.pipelines.dark_knowledge import summary_text as text
from knowledge_transfer.pipelines.dark_knowledge.settings import ALONE, FAILURE_MODE, LEARNERS, TAUGHT, TEACHER
from knowledge_transfer.pipelines.dark_knowledge.summary_text import ARMS, NAMES, PUBLISHED, name_of
from knowledge_transfer.reporting.formats import GAP, percent, plus_minus, points
from knowledge_transfer.reporting.page import Drawn, Section, Table
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


def compose_page(
    arms: pd.DataFrame,
    epochs: pd.DataFrame,
    failure_modes: pd.DataFrame,
    sets: Mapping[str, Mapping[str, pd.DataFrame]],
) -> Page:
    """Return the study's page; of each of the `sets` it takes `curves` and `diagnosis`."""
    sections: list[Section] = []
    for name, tables in sets.items():
        own = failure_modes[failure_modes["data"] == name]
        sections += _sections_of(name, tables["curves"], tables["diagnosis"], epochs[epochs["data"] == name], own)
    return Page(
        "What a small network learns from a large one's doubts",
        [sentence for name in sets for sentence in _lead(name, arms, failure_modes)],
        [
            Section("In the end", tables=[table_of(_with_names(arms), text.ARM_COLUMNS, text.ARM_NOTE)]),
            *sections,
            Section("The published study", text=text.SOURCE),
        ],
    )


def _sections_of(
    name: str, curves: pd.DataFrame, diagnosis: pd.DataFrame, epochs: pd.DataFrame, failure_modes: pd.DataFrame
) -> Iterator[Section]:
    """Yield the sections of one data set."""
    yield Section(
        f"{name}: epoch by epoch",
        [_teacher(curves)],
        figures=[Drawn(f"epochs_{name}", draw_epochs(curves), text.EPOCH_CAPTION)],
        tables=[Table(_side_by_side(epochs), text.EPOCH_COLUMNS, text.EPOCH_NOTE)],
    )
    if (failure_modes["arm"] == FAILURE_MODE).any():
        figure = draw_failure_modes(curves, diagnosis)
        yield Section(
            f"{name}: why a much smaller CNN may stay at chance",
            text.WHY,
            figures=[Drawn(f"failure_modes_{name}", figure, text.FAILURE_MODE_CAPTION)],
            tables=[Table(_with_names(failure_modes), text.FAILURE_MODE_COLUMNS, text.FAILURE_MODE_NOTE)],
        )


def _side_by_side(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return a row an epoch; columns of the smaller CNN begin with `small_`, published ones with `published_`."""
    cnn, small = (epochs[epochs["learner"] == learner].set_index("epoch") for learner in LEARNERS)
    both = cnn.join(small.add_prefix("small_"), how="outer")
    known = pd.DataFrame({f"published_{arm}": PUBLISHED[arm] for arm in (TAUGHT, ALONE)})
    known.index += 1
    return both.join(known, how="outer").rename_axis("epoch").reset_index()


def _with_names(table: pd.DataFrame) -> pd.DataFrame:
    arms = [ARMS.get(arm, arm) for arm in table["arm"]]
    return table.assign(learner=[name_of(each) for each in table["learner"]], arm=arms)


def _teacher(curves: pd.DataFrame) -> str:
    accuracy = curves[curves["learner"] == TEACHER].sort_values("epoch")["validation_accuracy"]
    first, last = PUBLISHED[TEACHER]
    return (
        f"The teacher is right on {percent(accuracy.iloc[0])}{GAP}% of the validation images after its first epoch and "
        f"on {percent(accuracy.iloc[-1])}{GAP}% after its last, number {len(accuracy)}; the published one, from "
        f"ImageNet's weights, rose from {percent(first)} to {percent(last)}{GAP}% on CIFAR-10."
    )


def _lead(name: str, arms: pd.DataFrame, failure_modes: pd.DataFrame) -> Iterator[str]:
    """Yield what the study found on one data set."""
    found = arms[arms["data"] == name].set_index(["learner", "arm"])
    teacher, cnn = found.loc[(TEACHER, TEACHER), "test"], found.loc[(LEARNERS[0], ALONE), "test"]
    yield f"{name}: the teacher is right on {percent(teacher)}{GAP}% of the test images" + (
        ", on fewer than the custom CNN is after learning from labels alone: it has little to give."
        if teacher < cnn
        else "."
    )
    for learner in LEARNERS:
        taught, alone = found.loc[(learner, TAUGHT)], found.loc[(learner, ALONE)]
        yield (
            f"The {NAMES[learner]} ({taught['parameters']:,.0f} parameters): {percent(taught['test'])}{GAP}% right "
            f"with the soft loss, {percent(alone['test'])}{GAP}% without; the gain is "
            f"{points(taught['difference'])}{plus_minus(taught['standard_error'])} points: {taught['verdict']}."
        )
    own = failure_modes[failure_modes["data"] == name]
    modes, small = own[own["arm"] == FAILURE_MODE], own[own["learner"] == LEARNERS[-1]].iloc[0]
    if modes.empty:
        return
    at_chance = [name_of(learner) for learner in modes.loc[modes["at_chance"] > 0, "learner"]]
    hope = "stays at chance here, too" if small["at_chance"] else "is no hopeless case"
    reached = (
        f"What brings it to chance, with some seed at least: {', '.join(at_chance)}."
        if at_chance
        else "No failure mode is at chance."
    )
    yield (
        f"The smaller CNN {hope}: it is right on {percent(small['accuracy'])}{GAP}% of the validation images, where "
        f"chance is {percent(small['chance'])}{GAP}%. {reached}"
    )
