"""What the comparisons say, in sentences that claim no more than the numbers do."""

from __future__ import annotations

from typing import Any

from knowledge_transfer.pipelines.evaluation.comparisons import (
    ACCURACY,
    AFTER_OR_CONTINUED,
    CHANCE,
    GAIN,
    JOINT_ACCURACY,
    LOSS,
    NONE,
    TARGET_OR_CONFIDENT,
    TARGET_OR_LABELS,
    TARGET_OR_NO_LABELS,
    TARGET_OR_SMOOTHING,
    TARGET_OR_STUDENT,
)
from knowledge_transfer.reporting.formats import GAP as _GAP
from knowledge_transfer.reporting.formats import p_value, percent, points

Row = dict[str, Any]
_VERDICTS = {GAIN: "a gain", LOSS: "a loss", CHANCE: "not beyond chance", NONE: "less than its error"}


def lead(comparisons: list[Row], target: list[Row]) -> list[str]:
    """Return the sentences that a reader in a hurry takes away: what reached the target, and what came back.

    `target` are the measurements of the target, of a mix one for each domain, the whole mix among them.
    """
    last = max(row["round"] for row in target)
    taught = next(row for row in target if row["round"] == last)  # the whole comes before its domains
    sentences = [_to_the_target(comparisons, taught)]
    if len({row["domain"] for row in target}) > 1:
        sentences.append(_without_the_domain(comparisons, taught))
        sentences.append(_beside_the_students(comparisons))
    return [*sentences, _back_to_the_students(comparisons)]


def _find(rows: list[Row], question: str, measure: str = ACCURACY) -> Row | None:
    return next((row for row in rows if row["question"] == question and row["measure"] == measure), None)


def _to_the_target(rows: list[Row], taught: Row) -> str:
    labels, smoothed = _find(rows, TARGET_OR_LABELS), _find(rows, TARGET_OR_SMOOTHING)
    known = ", each image's domain being known" if any(row["measure"] == JOINT_ACCURACY for row in rows) else ""
    accuracy = taught["accuracy"]
    reached = (
        f"{taught['model']}, taught by the ensemble, is right on {percent(accuracy)}{_GAP}% of the test images{known}"
    )
    if labels is None:
        return f"{reached}. It was not also trained on labels alone, so what the teaching added is unknown."
    alone = f"{reached}; the same network on labels alone, on {percent(accuracy - labels['difference'])}{_GAP}%"
    if labels["verdict"] == LOSS:
        return f"{alone}. The difference, {_numbers(labels)}, is more than chance: here the teaching did harm."
    if labels["verdict"] != GAIN:
        return f"{alone}. The difference, {_numbers(labels)}, may be chance: no transfer to the target is shown."
    gain = f"{alone}. The gain of {_numbers(labels)} is more than chance"
    if smoothed is None:
        return f"{gain}; whether smoothed labels, which know nothing, do the same was not tried."
    if smoothed["verdict"] != GAIN:
        return f"{gain}, that over smoothed labels, {_numbers(smoothed)}, may be; that knowledge passed is not shown."
    return (
        f"{gain}, and so is that over smoothed labels, {_numbers(smoothed)}: "
        "knowledge passed to the target, in this run at least."
    )


def _without_the_domain(rows: list[Row], taught: Row) -> str:
    """Return what the target is worth where nobody tells it the domain: the task that no student can do."""
    joint = taught["joint_accuracy"]
    told = f"Over all classes, the domain unknown, it is right on {percent(joint)}{_GAP}%"
    for question, whose in (
        (TARGET_OR_LABELS, "on labels alone"),
        (TARGET_OR_NO_LABELS, "from its teachers alone, told the domain and no class,"),
        (TARGET_OR_CONFIDENT, "the students together, believing the most confident,"),
    ):
        if row := _find(rows, question, JOINT_ACCURACY):
            share = percent(joint - row["difference"])
            told += f"; {whose} on {share}{_GAP}% ({_numbers(row)}, {_VERDICTS[row['verdict']]})"
    return f"{told}."


def _beside_the_students(rows: list[Row]) -> str:
    """Return in which domains the target is better or worse than the student that taught it."""
    asked = [row for row in rows if row["question"] == TARGET_OR_STUDENT]
    parts = [
        f"{than} {' and '.join(named)}"
        for verdict, than in ((GAIN, "better than"), (LOSS, "worse than"))
        if (
            named := [
                f"{row['b'].rsplit('@', 1)[0]} on {row['domain']} ({_numbers(row)})"
                for row in asked
                if row["verdict"] == verdict
            ]
        )
    ]
    same = dict.fromkeys(row["domain"] for row in asked if row["verdict"] not in (GAIN, LOSS))
    if same:
        parts.append(f"not shown to differ from a student of {' and '.join(same)}")
    return f"Beside the student of each domain, the target is {'; '.join(parts)}."


def _back_to_the_students(rows: list[Row]) -> str:
    asked = [row for row in rows if row["question"] == AFTER_OR_CONTINUED]
    if not asked:
        return "The students were not also continued on labels, so what the target taught them back is unknown."
    parts = [
        f"{' and '.join(named)} learned {more_or_less} from the target than from the same steps on labels"
        for verdict, more_or_less in ((GAIN, "more"), (LOSS, "less"))
        if (named := [_named(row) for row in asked if row["verdict"] == verdict])
    ]
    same = sum(row["verdict"] not in (GAIN, LOSS) for row in asked)
    if same and parts:
        parts.append(f"for {same} of {len(asked)} students the difference may be chance")
    elif same:
        parts.append("every difference between learning from the target and the same steps on labels may be chance")
    return f"On the way back, {'; '.join(parts)}."


def _named(row: Row) -> str:
    return f"{row['a'].rsplit('@', 1)[0]} ({_numbers(row)})"


def _numbers(row: Row) -> str:
    equals = "" if row["p_value"] < 0.001 else f"={_GAP}"
    difference = f"{points(row['difference'])}{_GAP}±{_GAP}{percent(row['standard_error'])} points"
    return f"{difference}, p{_GAP}{equals}{p_value(row['p_value'])}"
