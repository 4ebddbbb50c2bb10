"""Reverse distillation, one round: label once with the target, let every student learn from it."""

from kedro.pipeline import Pipeline, node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.pipelines.reverse_distillation.nodes import distil_student, label_by_target


def create_pipeline(experiment: Experiment | None = None, round_: int | None = None) -> Pipeline:
    """Return the stage of one round, none for all of them, of an experiment (none: the present run's)."""
    now = experiment or current.plan().main
    if round_ is None:
        return sum((create_pipeline(now, each) for each in range(1, now.rounds + 1)), start=Pipeline([]))
    target = f"{now.target.name}_round{round_}"
    soft_labels = f"{target}_soft_labels"
    namespace = now.namespace("reverse_distillation", round_)
    stage = ("params:reverse_distillation", "params:seed", "params:devices")
    is_trained = now.reverse_distillation.distillation.start == "trained"
    labelling = node(
        label_by_target,
        ["transfer_images", "student_images", *stage, f"{target}_checkpoint"],
        soft_labels,
        name=f"label_by_{target}",
        namespace=namespace,
        tags=["gpu"],
    )
    learning = [
        node(
            distil_student,
            [
                *("transfer_images", "student_images", "validation_images", "normalisation"),
                *(soft_labels, f"{target}_checkpoint", f"params:students.{name}", *stage),
                *([f"{name}_round{round_ - 1}_checkpoint"] if is_trained else []),
            ],
            f"{name}_round{round_}_checkpoint",
            name=f"distil_{name}_round{round_}",
            namespace=namespace,
            tags=current.training_tags(name, *(["final"] if round_ == now.rounds else [])),
        )
        for name in now.students
    ]
    return Pipeline([labelling, *learning])
