"""Nodes of evaluation: what the models answer and cost, and which differences are more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import pandas as pd

from knowledge_transfer.experiment.config import Target, seed_for
from knowledge_transfer.learning.checkpoint import Checkpoint, require_one_lineage, require_present_images
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.evaluation.metrics import mcnemar, paired_bootstrap, score, standard_error
from knowledge_transfer.learning.evaluation.predict import images_per_second, multiply_adds
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.pipelines.evaluation.answers import (
    UNAUGMENTED,
    Answer,
    answers_of,
    by_key,
    rows_of,
    share_right,
    strongest_student,
)
from knowledge_transfer.pipelines.evaluation.comparisons import (
    ACCURACY,
    JOINT_ACCURACY,
    Question,
    questions,
    questions_of_mix,
    verdict,
)

_RESAMPLES = 10_000
_COMPARED = [
    "question",
    "a",
    "b",
    "domain",
    "measure",
    "difference",
    "standard_error",
    "low",
    "high",
    "p_value",
    "verdict",
]


def answer_images(
    images: ImageSet, student_images: ImageSet, transfer_images: ImageSet, device: str, *models: Checkpoint
) -> SoftLabels:
    """Return what each model says about the images as they are, of other domains too; refuses models of other runs."""
    facts = [model.facts for model in models]
    require_one_lineage(facts)
    require_present_images(facts, student_images, transfer_images)
    return label(
        list(models),
        images,
        views=1,
        view_seed=0,
        augmentation=UNAUGMENTED,
        device=resolve_device(device),
        every_domain=True,
    )


def measure_costs(images: ImageSet, device: str, *models: Checkpoint) -> pd.DataFrame:
    """Return parameters, multiply-adds per image and images per second of each model."""
    # Once for each network: two fits of one network differ in speed by nothing but noise.
    rates: dict[tuple[Architecture, int], tuple[int, float]] = {}
    for model in models:
        facts = model.facts
        network = facts.architecture, len(facts.class_names)
        if network not in rates:
            macs = multiply_adds(model.build(), facts.channels, facts.image_size)
            rate = images_per_second(model.build(), images, device=resolve_device(device))
            rates[network] = macs, rate
    rows = [
        (facts.key, facts.parameters, *rates[facts.architecture, len(facts.class_names)])
        for facts in (model.facts for model in models)
    ]
    return pd.DataFrame(rows, columns=["model", "parameters", "macs", "images_per_second"])


def score_models(
    test: SoftLabels,
    test_images: ImageSet,
    validation: SoftLabels,
    validation_images: ImageSet,
    costs: pd.DataFrame,
    students: dict[str, Any],
    target: Target,
) -> pd.DataFrame:
    """Return one row for every model and every ensemble of every round: how good on the test images, and how dear.

    In a mix a student has a row for its own domain, every other model one for each domain and one for all of them.
    """
    answers = answers_of(test, test_images, validation, validation_images, tuple(students), target.name)
    indexed = costs.set_index("model")
    return pd.DataFrame(
        [
            _row(answer, test_images, domain, indexed)
            for answer in answers.values()
            for domain in _measured_on(answer, test_images)
        ]
    )


def _measured_on(answer: Answer, images: ImageSet) -> list[str]:
    domains = [block.domain for block in images.blocks]
    if len(domains) == 1:
        return domains
    return [ALL, *domains] if answer.domain == ALL else [answer.domain]


def _row(answer: Answer, images: ImageSet, domain: str, costs: pd.DataFrame) -> dict[str, Any]:
    rows = rows_of(images, domain)
    labels = images.labels[rows]
    result = score(answer.probabilities[rows], labels)
    # Whoever knows one domain alone cannot say which domain an image is of.
    joint = math.nan if len(images.blocks) > 1 and answer.domain != ALL else share_right(answer.joint[rows], labels)
    members = costs.loc[list(answer.members)]
    return {
        "model": answer.model,
        "stage": answer.stage,
        "round": answer.round,
        "domain": domain,
        "images": len(labels),
        "accuracy": result.accuracy,
        "standard_error": standard_error(result.accuracy, len(labels)),
        "joint_accuracy": joint,
        "nll": math.nan if answer.is_vote else result.nll,
        "ece": math.nan if answer.is_vote else result.ece,
        "parameters": int(members["parameters"].sum()),
        "macs": int(members["macs"].sum()),
        "images_per_second": 1 / float((1 / members["images_per_second"]).sum()),
    }


def compare_arms(
    test: SoftLabels,
    test_images: ImageSet,
    validation: SoftLabels,
    validation_images: ImageSet,
    students: dict[str, Any],
    target: Target,
    rounds: int,
    seed: int,
) -> pd.DataFrame:
    """Return one row for every question both sides of which are here: the difference on the same images, a verdict."""
    names, about = tuple(students), (test, test_images, validation, validation_images)
    answers = answers_of(*about, names, target.name, rules=("mean_probabilities",))
    right = {
        measure: {key: each.argmax(1) == test_images.labels for key, each in said.items()}
        for measure, said in (
            (ACCURACY, {key: answer.probabilities for key, answer in answers.items()}),
            (JOINT_ACCURACY, {key: answer.joint for key, answer in answers.items()}),
        )
    }
    rows = []
    for asked in _questions(test_images, validation, validation_images, names, target.name, rounds, answers):
        of = right[asked.measure]
        if asked.a in of and asked.b in of:
            here = rows_of(test_images, asked.domain)
            a, b = of[asked.a][here], of[asked.b][here]
            paired = mcnemar(a, b)
            interval = paired_bootstrap(a, b, samples=_RESAMPLES, seed=seed_for(seed, f"{asked.a} {asked.b}"))
            numbers = (paired.difference, paired.standard_error, *interval, paired.p_value)
            rows.append((*astuple(asked), *numbers, verdict(paired)))
    return pd.DataFrame(rows, columns=_COMPARED)


def _questions(
    images: ImageSet,
    validation: SoftLabels,
    validation_images: ImageSet,
    students: tuple[str, ...],
    target: str,
    rounds: int,
    answers: dict[str, Answer],
) -> Iterator[Question]:
    if len(images.blocks) > 1:
        return questions_of_mix({name: answers[f"{name}@0"].domain for name in students}, target, rounds)
    strongest = strongest_student(by_key(validation, validation_images), validation_images.labels, students, 0)
    return questions(students, target, rounds, strongest)
