"""The page of the study dark_knowledge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from knowledge_transfer.pipelines.dark_knowledge import published, words
from knowledge_transfer.pipelines.dark_knowledge.figures import draw_epochs, draw_suspects
from knowledge_transfer.pipelines.dark_knowledge.settings import LEARNERS, SUSPECT, TEACHER
from knowledge_transfer.pipelines.dark_knowledge.words import ARMS, NAMES, in_words
from knowledge_transfer.reporting.formats import GAP, percent, points
from knowledge_transfer.reporting.page import Drawn, Section, Table, write_page


def write_report(
    arms: pd.DataFrame,
    epochs: pd.DataFrame,
    suspects: pd.DataFrame,
    run_info: dict[str, Any],
    parameters: dict[str, Any],
    **of_sets: Any,
) -> str:
    """Return the study's page; `of_sets` are every data set's `<name>_curves`, `<name>_examination`, `<name>_data`."""
    names = list(dict.fromkeys(arms["data"]))
    sections: list[Section] = []
    for name in names:
        sections += _sections_of(
            name,
            of_sets[f"{name}_curves"],
            of_sets[f"{name}_examination"],
            epochs[epochs["data"] == name],
            suspects[suspects["data"] == name],
        )
    return write_page(
        "What a small network learns from a large one's doubts",
        [sentence for name in names for sentence in _lead(name, arms, suspects)],
        [
            Section("In the end", tables=[Table(_with_words(arms), words.ARM_COLUMNS, words.ARM_NOTE)]),
            *sections,
            Section("The published study", text=words.SOURCE),
        ],
        sources={name: of_sets[f"{name}_data"] for name in names},
        run_info=run_info,
        parameters=parameters,
    )


def _sections_of(
    name: str, curves: pd.DataFrame, examination: pd.DataFrame, epochs: pd.DataFrame, suspects: pd.DataFrame
) -> Iterator[Section]:
    """Yield what is told of one data set."""
    yield Section(
        f"{name}: epoch by epoch",
        [_teacher(curves)],
        figures=[Drawn(f"epochs_{name}", draw_epochs(curves), words.EPOCH_CAPTION)],
        tables=[Table(_side_by_side(epochs), words.EPOCH_COLUMNS, words.EPOCH_NOTE)],
    )
    if (suspects["arm"] == SUSPECT).any():
        yield Section(
            f"{name}: why a much smaller CNN may stay at chance",
            words.WHY,
            figures=[Drawn(f"suspects_{name}", draw_suspects(curves, examination), words.SUSPECT_CAPTION)],
            tables=[Table(_with_words(suspects), words.SUSPECT_COLUMNS, words.SUSPECT_NOTE)],
        )


def _side_by_side(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return a row an epoch, the smaller CNN's columns (`small_…`) and the published ones beside the other's."""
    cnn, small = (epochs[epochs["learner"] == learner].set_index("epoch") for learner in LEARNERS)
    both = cnn.join(small.add_prefix("small_"), how="outer")
    counted = range(1, len(published.TAUGHT) + 1)
    known = pd.DataFrame({"published_taught": published.TAUGHT, "published_alone": published.ALONE}, index=counted)
    return both.join(known, how="outer").rename_axis("epoch").reset_index()


def _with_words(table: pd.DataFrame) -> pd.DataFrame:
    arms = [ARMS.get(arm, arm) for arm in table["arm"]]
    return table.assign(learner=[in_words(each) for each in table["learner"]], arm=arms)


def _teacher(curves: pd.DataFrame) -> str:
    accuracy = curves[curves["learner"] == TEACHER].sort_values("epoch")["validation_accuracy"]
    first, last = published.TEACHER
    return (
        f"The teacher is right on {percent(accuracy.iloc[0])}{GAP}% of the validation images after its first epoch and "
        f"on {percent(accuracy.iloc[-1])}{GAP}% after its last, number {len(accuracy)}; the published one, from "
        f"ImageNet's weights, rose from {percent(first)} to {percent(last)}{GAP}% on CIFAR-10."
    )


def _lead(name: str, arms: pd.DataFrame, suspects: pd.DataFrame) -> Iterator[str]:
    """Yield what the study found on one data set."""
    found = arms[arms["data"] == name].set_index(["learner", "arm"])
    teacher, cnn = found.loc[(TEACHER, TEACHER), "test"], found.loc[(LEARNERS[0], "alone"), "test"]
    yield f"{name}: the teacher is right on {percent(teacher)}{GAP}% of the test images" + (
        ", on fewer than the custom CNN is after learning from labels alone: it has little to give."
        if teacher < cnn
        else "."
    )
    for learner in LEARNERS:
        taught, alone = found.loc[(learner, "taught")], found.loc[(learner, "alone")]
        error = "" if pd.isna(taught["standard_error"]) else f" ± {percent(taught['standard_error'])}"
        yield (
            f"The {NAMES[learner]} ({taught['parameters']:,.0f} parameters): {percent(taught['test'])}{GAP}% right "
            f"with the soft loss, {percent(alone['test'])}{GAP}% without; the gain is "
            f"{points(taught['difference'])}{error} points: {taught['verdict']}."
        )
    own = suspects[suspects["data"] == name]
    suspected = own[own["arm"] == SUSPECT]
    at_chance = [in_words(row["learner"]) for _, row in suspected.iterrows() if row["finding"].startswith("at chance")]
    small = own[own["learner"] == LEARNERS[-1]].iloc[0]
    hope = "stays at chance here, too" if small["finding"].startswith("at chance") else "is no hopeless case"
    if len(suspected):
        yield (
            f"The smaller CNN {hope}: it is right on {percent(small['accuracy'])}{GAP}% of the validation "
            f"images, where chance is {percent(small['chance'])}{GAP}%. "
            + (
                f"What brings it to chance, with some seed at least: {', '.join(at_chance)}."
                if at_chance
                else "No suspect is at chance."
            )
        )
