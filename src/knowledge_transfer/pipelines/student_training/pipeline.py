"""Student training: one node per student, so that they can run side by side."""

from kedro.pipeline import Pipeline, node

from knowledge_transfer.experiment import current
from knowledge_transfer.pipelines.student_training.nodes import train_student


def create_pipeline() -> Pipeline:
    """Return the stage for the current roster."""
    return Pipeline(
        [
            node(
                train_student,
                [
                    "student_images",
                    "validation_images",
                    "normalisation",
                    f"params:students.{name}",
                    "params:student_training",
                    "params:seed",
                    "params:devices",
                ],
                f"{name}_round0_checkpoint",
                name=f"train_{name}",
                namespace="student_training",
                tags=["training", "gpu"],
            )
            for name in current.current().students
        ]
    )
