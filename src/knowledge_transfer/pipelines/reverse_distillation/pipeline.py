"""Reverse distillation, one round: rank and label by the teachers once, let every student learn, accept each."""

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.acceptance import acceptance_node
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.experiment.stage_config import TAUGHT
from knowledge_transfer.experiment.study_steps import named
from knowledge_transfer.pipelines.reverse_distillation.nodes import distil_student, label_for_students, rank_teachers


def create_pipeline(experiment: Experiment | None = None, round_: int | None = None) -> Pipeline:
    """Return the stage of one round, none for all of them, of an experiment (none: the present run's)."""
    now = experiment or current.plan().main
    if round_ is None:
        return sum((create_pipeline(now, each) for each in range(1, now.rounds + 1)), start=Pipeline([]))
    namespace, teachers = now.namespace("reverse_distillation", round_), _teachers(now, round_)
    return Pipeline(
        [
            node(
                rank_teachers,
                ["validation_images", "params:devices", *teachers.values()],
                f"reverse_round{round_}_validation_scores",
                name=f"rank_teachers_round{round_}",
                namespace=namespace,
                tags=["gpu"],
            ),
            node(
                label_for_students,
                [
                    *("transfer_images", "student_images", "params:reverse_distillation"),
                    *("params:seed", "params:devices", *teachers.values()),
                ],
                f"reverse_round{round_}_soft_labels",
                name=f"label_for_students_round{round_}",
                namespace=namespace,
                tags=["gpu"],
            ),
            *(_learning(now, round_, name, teachers) for name in now.students),
            *(acceptance_node(now, "reverse_distillation", name, round_) for name in now.students),
        ]
    )


def _teachers(now: Experiment, round_: int) -> dict[str, str]:
    """Return by name the dataset of each teacher of this round."""
    who = now.reverse_distillation.teacher
    target = {} if who == "students" else {now.target.name: f"{now.target.name}_round{round_}_checkpoint"}
    return target | ({} if who == "target" else {name: f"{name}_round{round_ - 1}_checkpoint" for name in now.students})


def _learning(now: Experiment, round_: int, name: str, teachers: dict[str, str]) -> Node:
    """Return the node that teaches a student."""
    inputs = {
        **{each: each for each in ("transfer_images", "student_images", "validation_images", "normalisation")},
        **{each: f"reverse_round{round_}_{each}" for each in ("soft_labels", "validation_scores")},
        **{"student": f"params:students.{name}", "stage": "params:reverse_distillation"},
        **{"seed": "params:seed", "device": "params:devices"},
        **{f"teacher_{teacher}": checkpoint for teacher, checkpoint in teachers.items()},
    }
    if now.reverse_distillation.distillation.start == "trained":
        inputs["start"] = f"{name}_round{round_ - 1}_checkpoint"
    return node(
        named(distil_student, round_),
        inputs,
        f"{name}_{TAUGHT}_round{round_}_checkpoint",
        name=f"distil_{name}_round{round_}",
        namespace=now.namespace("reverse_distillation", round_),
        tags=current.training_tags(f"{name}_{TAUGHT}"),
    )
