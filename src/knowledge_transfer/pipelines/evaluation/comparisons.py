"""The questions that a run answers: which two models are compared, on the same test images, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.evaluation.metrics import Paired
from knowledge_transfer.pipelines.evaluation.routing import MOST_CONFIDENT, ORACLE_ROUTED

TARGET_OR_LABELS = "target or labels alone"
TARGET_OR_NO_LABELS = "target or teachers alone, no labels"
TARGET_OR_SMOOTHING = "target or smoothed labels"
TARGET_OR_CEILING = "target or all labels (ceiling)"
TARGET_OR_TEACHERS = "target or the mean of the students that taught it"
TARGET_OR_STRONGEST = "target or the strongest student"
AFTER_OR_BEFORE = "student after or before"
AFTER_OR_CONTINUED = "student taught back or continued on labels"
TARGET_OR_ORACLE = "target or the students that taught it, routed by an oracle"
TARGET_OR_CONFIDENT = "target or the students that taught it, routed by the most confident"
TARGET_OR_LABELS_HERE = "target or labels alone, by domain"
TARGET_OR_STUDENT = "target or the domain's student that taught it"
ENSEMBLE_AFTER = "ensemble after or before"
ENSEMBLE_OR_REST = "ensemble or ensemble without its strongest"

ACCURACY, JOINT_ACCURACY = "accuracy", "joint_accuracy"  # once the domain is known, without knowing it
GAIN, LOSS, CHANCE, NONE = "gain", "loss", "not beyond chance", "none"
_LEVEL = 0.05


@dataclass(frozen=True)
class Question:
    """Which of two models, by key, is right more often: on which domain's images, by which measure."""

    question: str
    a: str
    b: str
    domain: str = ALL
    measure: str = ACCURACY


def questions(students: Sequence[str], target: str, rounds: int, strongest: str) -> Iterator[Question]:
    """Yield what is asked; `strongest` is the student that validation puts first in round 0."""
    taught, ensemble = f"{target}@{rounds}", "ensemble_mean_probabilities"
    for question, arm in _arms(target, rounds):
        yield Question(question, taught, arm)
    yield Question(TARGET_OR_TEACHERS, taught, f"{ensemble}@{rounds - 1}")
    yield Question(TARGET_OR_STRONGEST, taught, f"{strongest}@0")
    for question, a, b, _ in _of_students(dict.fromkeys(students, ALL), rounds):
        yield Question(question, a, b)
    yield Question(ENSEMBLE_AFTER, f"{ensemble}@{rounds}", f"{ensemble}@0")
    yield Question(ENSEMBLE_OR_REST, f"{ensemble}@0", f"ensemble_without_{strongest}@0")


def questions_of_mix(domains: Mapping[str, str], target: str, rounds: int) -> Iterator[Question]:
    """Yield what is asked of a mix; `domains` has the domain of each student."""
    taught = f"{target}@{rounds}"
    routed = {ACCURACY: ORACLE_ROUTED, JOINT_ACCURACY: MOST_CONFIDENT}
    for measure, ensemble in routed.items():
        for question, arm in _arms(target, rounds):
            yield Question(question, taught, arm, ALL, measure)
        question = TARGET_OR_ORACLE if measure == ACCURACY else TARGET_OR_CONFIDENT
        yield Question(question, taught, f"{ensemble}@{rounds - 1}", ALL, measure)
    for domain in dict.fromkeys(domains.values()):
        yield Question(TARGET_OR_LABELS_HERE, taught, f"{target}_labels@{rounds}", domain)
    for student, domain in domains.items():
        yield Question(TARGET_OR_STUDENT, taught, f"{student}@{rounds - 1}", domain)
    for question, a, b, domain in _of_students(domains, rounds):
        yield Question(question, a, b, domain)
    for measure, ensemble in routed.items():
        yield Question(ENSEMBLE_AFTER, f"{ensemble}@{rounds}", f"{ensemble}@0", ALL, measure)


def _arms(target: str, rounds: int) -> Iterator[tuple[str, str]]:
    yield TARGET_OR_LABELS, f"{target}_labels@{rounds}"
    yield TARGET_OR_NO_LABELS, f"{target}_no_labels@{rounds}"
    yield TARGET_OR_SMOOTHING, f"{target}_label_smoothing@{rounds}"
    yield TARGET_OR_CEILING, f"{target}_all_labels@{rounds}"


def _of_students(domains: Mapping[str, str], rounds: int) -> Iterator[tuple[str, str, str, str]]:
    for student, domain in domains.items():
        yield AFTER_OR_CONTINUED, f"{student}@{rounds}", f"{student}_continued@{rounds}", domain
    for student, domain in domains.items():
        yield AFTER_OR_BEFORE, f"{student}@{rounds}", f"{student}@0", domain


def verdict(paired: Paired) -> str:
    """Return what may be said of a difference: a gain or a loss only where chance alone would rarely make it."""
    if paired.difference == 0 or abs(paired.difference) < paired.standard_error:
        return NONE
    if paired.p_value >= _LEVEL:
        return CHANCE
    return GAIN if paired.difference > 0 else LOSS
