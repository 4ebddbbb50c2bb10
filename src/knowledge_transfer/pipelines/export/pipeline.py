"""Export: files of the models after the last round, each compared with the network that it was made of."""

from kedro.pipeline import Pipeline, node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.pipelines.export import nodes


def create_pipeline(experiment: Experiment | None = None) -> Pipeline:
    """Return the pipeline for an experiment (none: the present run's)."""
    now = experiment or current.plan().main
    inputs = {"model": "params:model", "kind": "params:format", "images": "validation_images"}
    inputs |= current.final_models(now)
    return Pipeline(
        [node(nodes.export_models, inputs, ["exported_models", "exports_table"], name="export_models")],
        tags=current.INFERENCE,
    )
