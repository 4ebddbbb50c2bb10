"""Reference arms: the same networks trained without a teacher, for as long, from the same start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.pipelines.reference_arms import nodes


def create_pipeline(experiment: Experiment | None = None) -> Pipeline:
    """Return the stage for an experiment (none: the present run's)."""
    now = experiment or current.plan().main
    return Pipeline([*_arms_of_target(now), *_arms_of_students(now)])


def _arms_of_target(now: Experiment) -> list[Node]:
    """Return a training node for each reference arm of the target that is wanted."""
    arms: dict[str, Callable[..., Any]] = {
        "labels": nodes.learn_from_labels,
        "no_labels": nodes.learn_without_labels,
        "label_smoothing": nodes.learn_from_smoothed_labels,
        "all_labels": nodes.learn_from_all_labels,
    }
    inputs = {"target": "params:target", "stage": "params:target_distillation"}
    further = {
        "label_smoothing": {"evaluation": "params:evaluation"},
        # Of the first round, for later teachers have learned the labels of the transfer set.
        "no_labels": {name: f"ensemble_round1_{name}" for name in ("soft_labels", "validation_scores")},
    }
    return [
        _arm(learn, f"{now.target.name}_{arm}", now, inputs | further.get(arm, {}))
        for arm, learn in arms.items()
        if arm in now.reference_arms
    ]


def _arms_of_students(now: Experiment) -> list[Node]:
    """Return a training node for each student, from where reverse distillation starts, if these arms are wanted."""
    if "students_continued" not in now.reference_arms:
        return []
    trained = now.reverse_distillation.distillation.start == "trained"
    inputs = {"stage": "params:reverse_distillation"}
    return [
        _arm(
            nodes.continue_student,
            f"{name}_continued",
            now,
            inputs
            | {"student": f"params:students.{name}"}
            | ({"start": f"{name}_round0_checkpoint"} if trained else {}),
        )
        for name in now.students
    ]


def _arm(learn: Callable[..., Any], name: str, now: Experiment, inputs: dict[str, str]) -> Node:
    sets = ("transfer_images", "student_images", "validation_images", "normalisation")
    shared = {each: each for each in sets} | {each: f"params:{each}" for each in ("rounds", "seed")}
    shared["device"] = "params:devices"
    outputs = f"{name}_round{now.rounds}_checkpoint"
    return node(
        learn,
        shared | inputs,
        outputs,
        name=f"train_{name}",
        namespace="reference_arms",
        tags=current.training_tags(name),
    )
