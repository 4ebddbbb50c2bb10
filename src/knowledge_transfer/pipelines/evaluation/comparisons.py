"""The comparisons of a run: pairs of models on the same test images, and the verdict on their difference."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from knowledge_transfer.experiment.stage_config import CONTINUED, MUTUAL, TAUGHT, Roster
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.evaluation.metrics import Paired
from knowledge_transfer.pipelines.evaluation.predictions import (
    MAIN_RULE,
    MOST_CONFIDENT,
    ORACLE_ROUTED,
    ensemble_of,
    ensemble_without,
)

TARGET_OR_LABELS = "target or labels alone"
TARGET_OR_NO_LABELS = "target or teachers alone, no labels"
TARGET_OR_SMOOTHING = "target or smoothed labels"
TARGET_OR_CEILING = "target or all labels (ceiling)"
TARGET_OR_TEACHERS = "target or the mean of the students that taught it"
TARGET_OR_STRONGEST = "target or the strongest student"
TAUGHT_OR_MUTUAL = "student taught back or by mutual learning"
TAUGHT_OR_BEFORE = "student taught back or before"
AFTER_OR_BEFORE = "student after, as accepted, or before"
TAUGHT_OR_CONTINUED = "student taught back or continued on labels"
TARGET_OR_ORACLE = "target or the students that taught it, routed by an oracle"
TARGET_OR_CONFIDENT = "target or the students that taught it, routed by the most confident"
TARGET_OR_LABELS_HERE = "target or labels alone, by domain"
TARGET_OR_STUDENT = "target or the domain's student that taught it"
ENSEMBLE_AFTER = "ensemble after or before"
ENSEMBLE_OR_REST = "ensemble or ensemble without its strongest"
_ARMS = {
    "labels": TARGET_OR_LABELS,
    "no_labels": TARGET_OR_NO_LABELS,
    "label_smoothing": TARGET_OR_SMOOTHING,
    "all_labels": TARGET_OR_CEILING,
}

ACCURACY, JOINT_ACCURACY = "accuracy", "joint_accuracy"  # with the domain known, without it
GAIN, LOSS, CHANCE, NONE = "gain", "loss", "not beyond chance", "none"
_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Which of two models, by key, is right more often on the images of `domain`; `student` is the one at issue."""

    question: str
    a: str
    b: str
    domain: str = ALL
    measure: str = ACCURACY
    student: str | None = None


def comparisons_of(roster: Roster, strongest: str) -> Iterator[Comparison]:
    """Yield the comparisons of one domain; `strongest` is the best student on validation in round 0."""
    rounds, taught = roster.rounds, roster.taught(roster.target)
    yield from _with_arms(roster, ACCURACY)
    yield Comparison(TARGET_OR_TEACHERS, taught, ensemble_of(MAIN_RULE, rounds - 1).key)
    yield Comparison(TARGET_OR_STRONGEST, taught, f"{strongest}@0", student=strongest)
    yield from _of_students(dict.fromkeys(roster.students, ALL), rounds)
    yield _ensemble_after(MAIN_RULE, rounds, ACCURACY)
    yield Comparison(ENSEMBLE_OR_REST, ensemble_of(MAIN_RULE, 0).key, ensemble_without(strongest, 0).key)


def comparisons_of_mix(roster: Roster, domains: Mapping[str, str]) -> Iterator[Comparison]:
    """Yield the comparisons of a mix; `domains` has the domain of each student."""
    rounds, taught = roster.rounds, roster.taught(roster.target)
    routed = {ACCURACY: (ORACLE_ROUTED, TARGET_OR_ORACLE), JOINT_ACCURACY: (MOST_CONFIDENT, TARGET_OR_CONFIDENT)}
    for measure, (rule, question) in routed.items():
        yield from _with_arms(roster, measure)
        yield Comparison(question, taught, ensemble_of(rule, rounds - 1).key, ALL, measure)
    for domain in dict.fromkeys(domains.values()):
        yield Comparison(TARGET_OR_LABELS_HERE, taught, f"{roster.target}_labels@{rounds}", domain)
    for student, domain in domains.items():
        yield Comparison(TARGET_OR_STUDENT, taught, f"{student}@{rounds - 1}", domain, student=student)
    yield from _of_students(domains, rounds)
    for measure, (rule, _) in routed.items():
        yield _ensemble_after(rule, rounds, measure)


def _with_arms(roster: Roster, measure: str) -> Iterator[Comparison]:
    for arm, question in _ARMS.items():
        taught = roster.taught(roster.target)
        yield Comparison(question, taught, f"{roster.target}_{arm}@{roster.rounds}", ALL, measure)


def _of_students(domains: Mapping[str, str], rounds: int) -> Iterator[Comparison]:
    for question, one, other in (
        (TAUGHT_OR_CONTINUED, f"_{TAUGHT}@{rounds}", f"_{CONTINUED}@{rounds}"),
        (TAUGHT_OR_MUTUAL, f"_{TAUGHT}@{rounds}", f"_{MUTUAL}@{rounds}"),
        (TAUGHT_OR_BEFORE, f"_{TAUGHT}@{rounds}", "@0"),
        (AFTER_OR_BEFORE, f"@{rounds}", "@0"),
    ):
        for student, domain in domains.items():
            yield Comparison(question, f"{student}{one}", f"{student}{other}", domain, student=student)


def _ensemble_after(rule: str, rounds: int, measure: str) -> Comparison:
    return Comparison(ENSEMBLE_AFTER, ensemble_of(rule, rounds).key, ensemble_of(rule, 0).key, ALL, measure)


def verdict(paired: Paired) -> str:
    """Return the verdict on a difference: gain or loss for p < 0.05, none within one standard error."""
    if paired.difference == 0 or abs(paired.difference) < paired.standard_error:
        return NONE
    if paired.p_value >= _LEVEL:
        return CHANCE
    return GAIN if paired.difference > 0 else LOSS
