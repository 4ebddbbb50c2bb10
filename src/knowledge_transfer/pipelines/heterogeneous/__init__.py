"""The second experiment: every student learns a domain of its own, one target learns them all."""

from functools import partial

from kedro.pipeline import Pipeline

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.pipelines import bidirectional


def create_pipeline(experiment: Experiment | None = None) -> Pipeline:
    """Return the experiment (none: the present run's), empty where the parameters have no block `heterogeneous`."""
    stages = partial(bidirectional.create_pipeline, parameters="params:heterogeneous")
    return current.build_part("heterogeneous", stages, experiment)
