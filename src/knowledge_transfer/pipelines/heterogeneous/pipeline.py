"""The stages of the main experiment over a mix of domains: only the data and the parameters are others."""

from kedro.pipeline import Pipeline

from knowledge_transfer.experiment import current
from knowledge_transfer.pipelines import bidirectional


def create_pipeline() -> Pipeline:
    """Return the experiment, none where the parameters have no block `heterogeneous`."""
    return current.part("heterogeneous", bidirectional.create_pipeline)
