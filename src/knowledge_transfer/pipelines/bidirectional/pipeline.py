"""All six stages, the two distillations once a round."""

from kedro.pipeline import Pipeline

from knowledge_transfer.experiment import current
from knowledge_transfer.pipelines import (
    data_preparation,
    evaluation,
    reference_arms,
    reverse_distillation,
    student_training,
    target_distillation,
)


def create_pipeline() -> Pipeline:
    """Return the experiment for the current roster and number of rounds."""
    rounds = range(1, current.current().rounds + 1)
    return sum(
        (stage.create_pipeline(round_) for round_ in rounds for stage in (target_distillation, reverse_distillation)),
        start=data_preparation.create_pipeline()
        + student_training.create_pipeline()
        + reference_arms.create_pipeline()
        + evaluation.create_pipeline(),
    )
