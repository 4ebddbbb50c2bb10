"""The page of the study dark_knowledge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from knowledge_transfer.experiment.study_tables import Page, table_of
from knowledge_transfer.pipelines.dark_knowledge import summary_text as text
from knowledge_transfer.pipelines.dark_knowledge.figures import draw_epochs, draw_failure_modes
from knowledge_transfer.pipelines.dark_knowledge.settings import ALONE, FAILURE_MODE, LEARNERS, TAUGHT, TEACHER
from knowledge_transfer.pipelines.dark_knowledge.summary_text import ARMS, NAMES, PUBLISHED, name_of
from knowledge_transfer.reporting.formats import GAP, percent, plus_minus, points
from knowledge_transfer.reporting.page import Drawn, Section, Table


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
