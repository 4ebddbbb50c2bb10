"""Reference arms: the same networks trained without a teacher, for as long, from the same start."""

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.experiment.stage_config import CONTINUED, MUTUAL, TARGET_ARMS
from knowledge_transfer.experiment.study_steps import named
from knowledge_transfer.pipelines.reference_arms import nodes


def create_pipeline(experiment: Experiment | None = None) -> Pipeline:
    """Return the stage for an experiment (none: the present run's)."""
    now = experiment or current.plan().main
    return Pipeline([*_arms_of_target(now), *_arms_of_students(now), *_mutual_arm(now)])


def _arms_of_target(now: Experiment) -> list[Node]:
    """Return a training node for each reference arm of the target that is wanted."""
    inputs = {"target": "params:target", "stage": "params:target_distillation"}
    further = {
        "label_smoothing": {"label_smoothing": "params:evaluation.label_smoothing"},
        # Of the first round: later teachers have learned labels of the transfer set.
        "no_labels": {name: f"ensemble_round1_{name}" for name in ("soft_labels", "validation_scores")},
    }
    return [
        _arm(
            nodes.learn_without_labels if arm == "no_labels" else named(nodes.learn_from_labels, arm),
            f"{now.target.name}_{arm}",
            now,
            inputs | further.get(arm, {}),
        )
        for arm in TARGET_ARMS
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
            f"{name}_{CONTINUED}",
            now,
            inputs
            | {"student": f"params:students.{name}"}
            | ({"start": f"{name}_round0_checkpoint"} if trained else {}),
        )
        for name in now.students
    ]


def _mutual_arm(now: Experiment) -> list[Node]:
    """Return the node that trains all students together, if this arm is wanted."""
    if "students_mutual" not in now.reference_arms:
        return []
    trained = now.reverse_distillation.distillation.start == "trained"
    starts = [f"{name}_round0_checkpoint" for name in now.students] if trained else []
    sets = ("transfer_images", "student_images", "validation_images", "normalisation")
    parameters = ("students", "reverse_distillation", "rounds", "seed", "devices")
    return [
        node(
            nodes.learn_mutually,
            [*sets, *(f"params:{name}" for name in parameters), *starts],
            [f"{name}_{MUTUAL}_round{now.rounds}_checkpoint" for name in now.students],
            name=f"train_students_{MUTUAL}",
            namespace="reference_arms",
            tags=current.training_tags(f"students_{MUTUAL}"),
        )
    ]


def _arm(learn: Callable[..., Any], name: str, now: Experiment, inputs: dict[str, str]) -> Node:
    sets = ("transfer_images", "student_images", "validation_images", "normalisation")
    shared = {each: each for each in sets} | {each: f"params:{each}" for each in ("rounds", "seed")}
    shared["device"] = "params:devices"
    return node(
        learn,
        shared | inputs,
        f"{name}_round{now.rounds}_checkpoint",
        name=f"train_{name}",
        namespace="reference_arms",
        tags=current.training_tags(name),
    )
