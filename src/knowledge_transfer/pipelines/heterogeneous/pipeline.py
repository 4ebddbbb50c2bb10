"""The stages of the main experiment over a mix of domains: only the data and the parameters are others."""

from kedro.pipeline import Pipeline

from knowledge_transfer.pipelines import bidirectional, building


def create_pipeline() -> Pipeline:
    """Return the experiment, none where the parameters have no block `heterogeneous`."""
    return building.part("heterogeneous", bidirectional.create_pipeline)
