"""The text of the report: sentences that claim no more than the comparisons show, captions and notes."""

from collections.abc import Mapping
from typing import Any

from knowledge_transfer.experiment.stage_config import TAUGHT
from knowledge_transfer.pipelines.evaluation.comparisons import (
    ACCURACY,
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
    TAUGHT_OR_CONTINUED,
)
from knowledge_transfer.reporting.formats import GAP as _GAP
from knowledge_transfer.reporting.formats import p_value, percent, points

Row = dict[str, Any]
_VERDICTS = {GAIN: "a gain", LOSS: "a loss", CHANCE: "not beyond chance", NONE: "less than its error"}

OVERVIEW = (
    "Accuracy on {images:,} test images, in percent. Rings: before transfer; crosses: as taught in the last round; "
    "dots: what was kept after it (small: earlier rounds); diamonds: reference arms. Bars: one standard error."
)
OVERVIEW_OF_MIX = " Below the name of a domain its images alone, with the domain known; “mix” is all of them."
DIFFERENCES = (
    "A model is written name@round; round 0 is before transfer. Accuracies are compared on the same test images: "
    "paired standard errors, paired bootstrap intervals, McNemar's exact p. “none” is less than one standard error, a"
    " gain or loss has p < 0.05; of {count} comparisons, about {chance:.1f} would reach that by chance. {which} All "
    "errors are those of one run: the effect of another seed is not in them."
)
STRONGEST = "The strongest member is the best on validation."
KNOWN = "“mix, known”: each image's domain is known; “unknown”: it is not."
OF_MIX = (
    "Accuracy, NLL and ECE are of predictions among the classes of the image's own domain; joint accuracy is of "
    "predictions among all {classes} classes, the domain unknown. A student knows one domain. ensemble_oracle_routed "
    "takes the students of the image's domain; ensemble_most_confident takes, of all, the one that is most confident,"
    " which shows in its joint accuracy alone."
)
MODELS = (
    "Accuracy with its binomial standard error (without meaning where no image is wrong). NLL in nats; ECE in 15 "
    "bins. Costs are for one image, speed is that of this run's device; an ensemble costs the sum of its members."
)
CURVES = "Validation after each epoch; dashed: reference arms. A vertical line begins another round."
CURVES_OF_MIX = " Students are evaluated on their domain, the target on all classes with the domain unknown."
DOMAINS = (
    "Test images by domain (rows) and predicted domain (columns), the domain unknown. “most confident” are the "
    "students, of which the most confident one is taken."
)
CONFUSION = "Test images by label (rows) and prediction (columns), shaded as shares of the row."
CALIBRATION = "Above the diagonal a model is more often right than its confidence; below, less often."
AGREEMENT = (
    "Percentage of test images on which two models predict the same class, right or wrong. An ensemble needs members "
    "that differ: if they agree after transfer, its advantage is gone."
)
RULES = (
    "The weights of “weighted” and “boosted” and the layer of “stacked” come from validation. A vote gives a class "
    "and no distribution, so it has neither NLL nor ECE."
)


CANDIDATES = {"before": "as before", TAUGHT: "as taught", "on_labels": "on labels"}
KEPT = (
    "Of each model the weights are kept that predict the validation images best: as it was before, as it was taught, "
    "or as it learned from labels alone, where that arm was trained in this round. NLL per image in nats, at the "
    "temperature that suits each best. With `accept: always` those that were taught are kept."
)


def candidate(model: str, key: str) -> str:
    """Return which of `CANDIDATES` the model `key` is for the accepted `model`."""
    name, other = (each.partition("@")[0] for each in (model, key))
    return "before" if other == name else TAUGHT if other == f"{name}_{TAUGHT}" else "on_labels"


def lead(comparisons: list[Row], metrics: list[Row], lineage: Mapping[str, Any]) -> list[str]:
    """Return the main results in sentences. `metrics` has a row for each model, in a mix the whole mix first."""
    target = next(row["of"] for row in metrics if row["stage"] == "target")
    rows = [row for row in metrics if row["of"] == target and row["stage"] == TAUGHT]
    last = max(row["round"] for row in rows)
    taught = next(row for row in rows if row["round"] == last)  # the whole comes before its domains
    sentences = [_directions(comparisons), _to_the_target(comparisons, taught, lineage)]
    if len({row["domain"] for row in rows}) > 1:
        sentences.append(_without_the_domain(comparisons, taught))
        sentences.append(_beside_the_students(comparisons))
    return [*sentences, _back_to_the_students(comparisons), _kept(lineage), *_not_learned(lineage)]


def _directions(rows: list[Row]) -> str:
    """Return in which directions knowledge is shown to have flowed."""
    labels, smoothed = _find(rows, TARGET_OR_LABELS), _find(rows, TARGET_OR_SMOOTHING)
    is_gain = labels is not None and labels["verdict"] == GAIN
    there = is_gain and smoothed is not None and smoothed["verdict"] == GAIN
    is_open = labels is None or (is_gain and smoothed is None)
    back = [row for row in rows if row["question"] == TAUGHT_OR_CONTINUED]
    gained = [row["student"] for row in back if row["verdict"] == GAIN]
    to_target = "flowed" if there else "may have flowed" if is_open else "is not shown to have flowed"
    if not back:
        return f"Knowledge {to_target} from the students to the target; for the way back there is no reference."
    to_students = f"it flowed to {' and '.join(gained)}" if gained else "it is shown for no student"
    return f"Knowledge {to_target} from the students to the target; on the way back, {to_students}."


def _kept(lineage: Mapping[str, Any]) -> str:
    """Return which weights were accepted, by the key of each model."""
    chosen: dict[str, list[str]] = {what: [] for what in CANDIDATES}
    are_best = True
    for key, model in lineage.items():
        if found := model["validation_nll"]:
            (kept,) = model["parents"]
            chosen[candidate(key, kept)].append(key)
            are_best &= found[kept] == min(found.values())
    parts = [f"{' and '.join(keys)} {CANDIDATES[what]}" for what, keys in chosen.items() if keys]
    return f"Kept, {'as the best on validation' if are_best else 'whatever validation says'}: {'; '.join(parts)}."


def _not_learned(lineage: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each fit that has collapsed."""
    fits = {key: model["warning"] for key, model in lineage.items() if model["warning"] and not model["validation_nll"]}
    return [f"{key} has not learned: it {warning}." for key, warning in fits.items()]


def _find(rows: list[Row], question: str, measure: str = ACCURACY) -> Row | None:
    return next((row for row in rows if row["question"] == question and row["measure"] == measure), None)


def _to_the_target(rows: list[Row], taught: Row, lineage: Mapping[str, Any]) -> str:
    parents = lineage[f"{taught['model']}@{taught['round']}"]["parents"]
    has_teachers = any(not key.startswith(f"{taught['of']}@") for key in parents)
    taught_by = "taught by the ensemble" if has_teachers else "on labels because all its teachers had collapsed"
    labels, smoothed = _find(rows, TARGET_OR_LABELS), _find(rows, TARGET_OR_SMOOTHING)
    known = ", with the domain of each image known" if any(row["measure"] == JOINT_ACCURACY for row in rows) else ""
    accuracy = taught["accuracy"]
    reached = f"{taught['model']}, {taught_by}, is right on {percent(accuracy)}{_GAP}% of the test images{known}"
    if labels is None:
        return f"{reached}. There is no target on labels alone, so the effect of distillation is unknown."
    alone = f"{reached}; the same network on labels alone, on {percent(accuracy - labels['difference'])}{_GAP}%"
    if labels["verdict"] == LOSS:
        return f"{alone}. The difference, {_numbers(labels)}, is more than chance: here distillation did harm."
    if labels["verdict"] != GAIN:
        return f"{alone}. The difference, {_numbers(labels)}, may be chance: no transfer to the target is shown."
    gain = f"{alone}. The gain of {_numbers(labels)} is more than chance"
    if smoothed is None:
        return f"{gain}; whether smoothed labels, without any knowledge, do the same was not tried."
    if smoothed["verdict"] != GAIN:
        return f"{gain}, that over smoothed labels, {_numbers(smoothed)}, may be; that knowledge passed is not shown."
    return (
        f"{gain}, and so is that over smoothed labels, {_numbers(smoothed)}: "
        "knowledge passed to the target, in this run at least."
    )


def _without_the_domain(rows: list[Row], taught: Row) -> str:
    """Return the accuracy of the target without knowing the domain, a task that no student can do."""
    joint = taught["joint_accuracy"]
    text = f"Over all classes, the domain unknown, it is right on {percent(joint)}{_GAP}%"
    for question, whose in (
        (TARGET_OR_LABELS, "on labels alone"),
        (TARGET_OR_NO_LABELS, "from its teachers alone, with the domain and no class,"),
        (TARGET_OR_CONFIDENT, "the students together, by the most confident,"),
    ):
        if row := _find(rows, question, JOINT_ACCURACY):
            share = percent(joint - row["difference"])
            text += f"; {whose} on {share}{_GAP}% ({_numbers(row)}, {_VERDICTS[row['verdict']]})"
    return f"{text}."


def _beside_the_students(rows: list[Row]) -> str:
    """Return in which domains the target is better or worse than the student that taught it."""
    compared = [row for row in rows if row["question"] == TARGET_OR_STUDENT]
    parts = []
    for verdict, than in ((GAIN, "better than"), (LOSS, "worse than")):
        if chosen := [row for row in compared if row["verdict"] == verdict]:
            named = [f"{row['student']} on {row['domain']} ({_numbers(row)})" for row in chosen]
            parts.append(f"{than} {' and '.join(named)}")
    if same := dict.fromkeys(row["domain"] for row in compared if row["verdict"] not in (GAIN, LOSS)):
        parts.append(f"not shown to differ from a student of {' and '.join(same)}")
    return f"Beside the student of each domain, the target is {'; '.join(parts)}."


def _back_to_the_students(rows: list[Row]) -> str:
    compared = [row for row in rows if row["question"] == TAUGHT_OR_CONTINUED]
    if not compared:
        return "No student was continued on labels, so the effect of reverse distillation is unknown."
    parts = []
    for verdict, amount in ((GAIN, "more"), (LOSS, "less")):
        if chosen := [row for row in compared if row["verdict"] == verdict]:
            named = [f"{row['student']} ({_numbers(row)})" for row in chosen]
            parts.append(f"{' and '.join(named)} learned {amount} when taught back than from the same steps on labels")
    same = sum(row["verdict"] not in (GAIN, LOSS) for row in compared)
    if same and parts:
        parts.append(f"for {same} of {len(compared)} students the difference may be chance")
    elif same:
        parts.append("every difference between being taught back and the same steps on labels may be chance")
    return f"In reverse distillation, {'; '.join(parts)}."


def _numbers(row: Row) -> str:
    equals = "" if row["p_value"] < 0.001 else f"={_GAP}"
    difference = f"{points(row['difference'])}{_GAP}±{_GAP}{percent(row['standard_error'])} points"
    return f"{difference}, p{_GAP}{equals}{p_value(row['p_value'])}"
