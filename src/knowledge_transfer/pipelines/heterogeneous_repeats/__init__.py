"""The second experiment over several seeds."""

from functools import partial

from kedro.pipeline import Pipeline

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.pipelines import repeats


def create_pipeline(experiment: Experiment | None = None) -> Pipeline:
    """Return the tables over its seeds (none: the present run's), empty without a block `heterogeneous`."""
    tables = partial(repeats.create_pipeline, parameters="params:heterogeneous")
    return current.build_part("heterogeneous", tables, experiment)
