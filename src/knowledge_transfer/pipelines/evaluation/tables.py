"""Nodes that put what was answered, learned and measured into tables for people and programs."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import pandas as pd
import torch

from knowledge_transfer.experiment.config import Target
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import fuse
from knowledge_transfer.learning.evaluation.metrics import agreement, confusion, reliability
from knowledge_transfer.pipelines.evaluation.answers import by_key, stage_of
from knowledge_transfer.pipelines.evaluation.routing import MOST_CONFIDENT, routed

_NUMBERS = ("accuracy", "nll", "ece", "parameters", "macs", "images_per_second")


def count_confusions(test: SoftLabels, test_images: ImageSet, target: Target, rounds: int) -> pd.DataFrame:
    """Return how many test images of each class (row) the target took for each class (column)."""
    answers = by_key(test, test_images)[f"{target.name}@{rounds}"].argmax(1)
    names = list(test_images.class_names)
    table = pd.DataFrame(confusion(answers, test_images.labels, len(names)).numpy(), columns=names)
    table.insert(0, "label", names, allow_duplicates=True)
    return table


def measure_agreement(
    test: SoftLabels, test_images: ImageSet, students: dict[str, Any], target: Target, rounds: int
) -> pd.DataFrame:
    """Return on which fraction of the test images two models answer alike, right or wrong."""
    answers = by_key(test, test_images)
    keys = [f"{name}@{round_}" for round_ in (0, rounds) for name in students] + [f"{target.name}@{rounds}"]
    table = pd.DataFrame(agreement(torch.stack([answers[key].argmax(1) for key in keys])).numpy(), columns=keys)
    table.insert(0, "model", keys)
    return table


def measure_calibration(
    test: SoftLabels, test_images: ImageSet, students: dict[str, Any], target: Target, rounds: int
) -> pd.DataFrame:
    """Return how often answers of each confidence are right: the target, its teachers, the target on labels alone."""
    logits = by_key(test, test_images)
    models = (f"{target.name}@{rounds}", f"{target.name}_labels@{rounds}")
    answers = {key: logits[key].softmax(1) for key in models if key in logits}
    members = tuple(f"{student}@0" for student in students)
    if len(test_images.blocks) > 1:
        _, answers[f"{MOST_CONFIDENT}@0"] = routed(logits, members, test.facts.domains, test_images)
    else:
        answers["ensemble_mean_probabilities@0"] = fuse(
            torch.stack([logits[key] for key in members]), "mean_probabilities"
        )
    return pd.DataFrame(
        {"model": key, **asdict(each)}
        for key, probabilities in answers.items()
        for each in reliability(probabilities, test_images.labels)
    )


def collect_learning_curves(students: dict[str, Any], target: Target, *models: Checkpoint) -> pd.DataFrame:
    """Return all learning curves as one table: a row for each epoch of each fit."""
    curves = []
    for model in models:
        name, round_ = model.facts.name, model.facts.round
        stage = stage_of(name, round_, tuple(students), target.name)
        curves.append(pd.DataFrame(model.curve).assign(model=name, stage=stage, round=round_))
    table = pd.concat(curves, ignore_index=True)
    first = ["model", "stage", "round"]
    return table[[*first, *table.columns.drop(first)]]


def collect_lineage(*models: Checkpoint) -> dict[str, Any]:
    """Return by key what each model descends from: weights, images, seed."""
    kept = {"sha256", "parents", "images_sha256", "seed"}
    return {model.facts.key: model.facts.model_dump(mode="json", include=kept) for model in models}


def summarise(metrics: pd.DataFrame, run_info: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return what a machine wants to know of the run, in strict JSON: null where a number has no meaning.

    The rows of a mix also have their domain and the joint accuracy.
    """
    is_mix = set(metrics["domain"]) != {ALL}
    numbers = (*_NUMBERS, "joint_accuracy") if is_mix else _NUMBERS
    rows = [
        {
            "model": row["model"],
            "stage": row["stage"],
            "round": int(row["round"]),
            **({"domain": row["domain"]} if is_mix else {}),
            **{name: None if pd.isna(row[name]) else row[name] for name in numbers},
        }
        for row in metrics.to_dict("records")
    ]
    return {
        "pipeline": run_info["pipeline"],
        "environment": run_info["environment"],
        "seed": seed,
        "seconds": round(time.time() - run_info["started"], 1),
        "rows": rows,
    }
