"""Nodes that put predictions, learning curves and facts into tables for people and programs."""

from dataclasses import asdict
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from knowledge_transfer.experiment.stage_config import Roster, Target
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.domains import ALL, domains_of, within_block
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import fuse
from knowledge_transfer.learning.evaluation.metrics import agreement, confusion, reliability
from knowledge_transfer.pipelines.evaluation.predictions import (
    MAIN_RULE,
    MOST_CONFIDENT,
    accuracy,
    by_key,
    ensemble_of,
    routed,
)
from knowledge_transfer.reporting.columns import summary_of


def count_confusions(test: SoftLabels, test_images: ImageSet, target: Target, rounds: int) -> pd.DataFrame:
    """Return how many test images of each class (row) the target predicts as each class (column)."""
    predicted = by_key(test, test_images)[f"{target.name}@{rounds}"].argmax(1)
    names = list(test_images.class_names)
    table = pd.DataFrame(confusion(predicted, test_images.labels, len(names)).numpy(), columns=names)
    table.insert(0, "label", names, allow_duplicates=True)
    return table


def measure_agreement(
    test: SoftLabels, test_images: ImageSet, students: dict[str, Any], target: Target, rounds: int
) -> pd.DataFrame:
    """Return the share of test images on which two models predict the same class, right or wrong."""
    logits, roster = by_key(test, test_images), Roster(tuple(students), target.name, rounds)
    keys = [*roster.students_after(0), *roster.students_after(rounds), roster.final_target]
    table = pd.DataFrame(agreement(torch.stack([logits[key].argmax(1) for key in keys])).numpy(), columns=keys)
    table.insert(0, "model", keys)
    return table


def measure_calibration(
    test: SoftLabels, test_images: ImageSet, students: dict[str, Any], target: Target, rounds: int
) -> pd.DataFrame:
    """Return accuracy by confidence of the target, of its teachers and of the target on labels."""
    logits, roster = by_key(test, test_images), Roster(tuple(students), target.name, rounds)
    models = (roster.final_target, f"{target.name}_labels@{rounds}")
    predictions = {key: logits[key].softmax(1) for key in models if key in logits}
    key, together = _students_together(test, test_images, roster)
    return pd.DataFrame(
        {"model": key, **asdict(each)}
        for key, probabilities in {**predictions, key: together}.items()
        for each in reliability(probabilities, test_images.labels)
    )


def _students_together(test: SoftLabels, images: ImageSet, roster: Roster) -> tuple[str, Tensor]:
    """Return key and probabilities of the main ensemble of the students before transfer."""
    logits, keys = by_key(test, images), roster.students_after(0)
    if len(images.blocks) > 1:
        return ensemble_of(MOST_CONFIDENT, 0).key, routed(logits, keys, test.facts.domains, images)[1]
    return ensemble_of(MAIN_RULE, 0).key, fuse(torch.stack([logits[key] for key in keys]), MAIN_RULE)


def collect_learning_curves(
    students: dict[str, Any], target: Target, rounds: int, *checkpoints: Checkpoint
) -> pd.DataFrame:
    """Return all learning curves as one table: a row for each epoch of each fit."""
    models, curves = Roster(tuple(students), target.name, rounds).models, []
    for checkpoint in (each for each in checkpoints if each.curve):
        identity = models[checkpoint.facts.key].columns
        curves.append(pd.DataFrame({**identity, **row} for row in checkpoint.curve))
    return pd.concat(curves, ignore_index=True)


def collect_lineage(*models: Checkpoint) -> dict[str, Any]:
    """Return by key what each model descends from: weights, images, seed; and of which candidates it was kept."""
    kept = {"sha256", "parents", "images_sha256", "seed", "validation_nll", "chosen_from", "warning"}
    return {model.facts.key: model.facts.model_dump(mode="json", include=kept) for model in models}


def summarise(metrics: pd.DataFrame, run_info: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the summary of the run for other programs, in strict JSON; numbers without a meaning are null."""
    return summary_of(metrics, run_info, seed)


def count_domain_confusions(
    test: SoftLabels, test_images: ImageSet, students: dict[str, Any], target: Target, rounds: int
) -> pd.DataFrame:
    """Return how many test images of each domain each model assigns to which, without knowing the domain.

    The models are the target, its reference arms and the students before transfer, routed by the most confident.
    """
    logits, roster = by_key(test, test_images), Roster(tuple(students), target.name, rounds)
    whole = [
        key
        for key, model in roster.models.items()
        if key in logits and test.facts.domains[key] == ALL and model.round == rounds
    ]
    joint = {key: logits[key].softmax(1) for key in whole}
    key, together = _students_together(test, test_images, roster)
    arms = {key: model.arm for key, model in roster.models.items()} | {key: MOST_CONFIDENT}
    names = [block.domain for block in test_images.blocks]
    return pd.DataFrame(
        {"model": key, "arm": arms[key], "domain": names[true], "predicted": names[predicted], "images": int(images)}
        for key, probabilities in {**joint, key: together}.items()
        for true, row in enumerate(_between_domains(probabilities, test_images))
        for predicted, images in enumerate(row)
    )


def _between_domains(joint: Tensor, images: ImageSet) -> Tensor:
    return confusion(domains_of(joint.argmax(1), images.blocks), images.domains, len(images.blocks))


def score_classes(
    test: SoftLabels, test_images: ImageSet, students: dict[str, Any], target: Target, rounds: int
) -> pd.DataFrame:
    """Return accuracies by class: of the target with and without the domain; of its students, their mean.

    Students are those of the class's domain, before and after. A class without test images has none.
    """
    logits, labels, blocks = by_key(test, test_images), test_images.labels, test_images.blocks
    taught = logits[f"{target.name}@{rounds}"]
    shown = {"accuracy": within_block(taught, test_images.domains, blocks), "joint_accuracy": taught}
    rows = []
    for block in blocks:
        own = [name for name in students if test.facts.domains[f"{name}@0"] == block.domain]
        for number, name in enumerate(block.class_names, block.start):
            here = labels == number
            scores = {measure: accuracy(each[here], labels[here]) for measure, each in shown.items()}
            for when, round_ in (("before", 0), ("after", rounds)):
                right = torch.stack([logits[f"{each}@{round_}"][here].argmax(1) == number for each in own])
                scores[when] = float(right.double().mean())
            rows.append({"domain": block.domain, "class": name, "images": int(here.sum()), **scores})
    return pd.DataFrame(rows)
