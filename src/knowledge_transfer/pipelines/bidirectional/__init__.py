"""The main experiment: all six stages, the two distillations once a round."""

from kedro.pipeline import Pipeline

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.pipelines import (
    data_preparation,
    evaluation,
    reference_arms,
    reverse_distillation,
    student_training,
    target_distillation,
)


def create_pipeline(experiment: Experiment | None = None, parameters: str = "parameters") -> Pipeline:
    """Return all stages of the experiment (none: the present run's); the catalog has its parameters as `parameters`."""
    now = experiment or current.plan().main
    rounds = range(1, now.rounds + 1)
    return sum(
        (
            stage.create_pipeline(now, round_)
            for round_ in rounds
            for stage in (target_distillation, reverse_distillation)
        ),
        start=data_preparation.create_pipeline(now)
        + student_training.create_pipeline(now)
        + reference_arms.create_pipeline(now)
        + evaluation.create_pipeline(now, parameters),
    )
