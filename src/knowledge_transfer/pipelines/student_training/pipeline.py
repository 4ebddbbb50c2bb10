"""Student training: one node per student, so that they can run side by side."""

from kedro.pipeline import Pipeline, node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.pipelines.student_training.nodes import train_student


def create_pipeline(experiment: Experiment | None = None) -> Pipeline:
    """Return the stage for an experiment (none: the present run's)."""
    now = experiment or current.plan().main
    sets = ["student_images", "validation_images", "normalisation"]
    return Pipeline(
        [
            node(
                train_student,
                [*sets, f"params:students.{name}", "params:student_training", "params:seed", "params:devices"],
                f"{name}_round0_checkpoint",
                name=f"train_{name}",
                namespace="student_training",
                tags=current.training_tags(name),
            )
            for name in now.students
        ]
    )
