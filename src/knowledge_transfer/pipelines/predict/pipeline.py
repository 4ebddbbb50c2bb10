"""Prediction: a table and a page of a user's images, from the models after the last round."""

from kedro.pipeline import Pipeline, node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.pipelines.predict import nodes


def create_pipeline(experiment: Experiment | None = None) -> Pipeline:
    """Return the pipeline for an experiment (none: the present run's)."""
    now = experiment or current.plan().main
    settings = {"model": "params:model", "device": "params:devices"}
    return Pipeline(
        [
            node(
                nodes.classify,
                {"files": "images_to_classify", **settings, **current.final_models(now)},
                ["predictions_table", "predictions_info"],
                name="classify",
            ),
            node(
                nodes.write_predictions,
                ["images_to_classify", "predictions_table", "predictions_info"],
                "predictions_page",
                name="write_predictions",
            ),
        ],
        tags=current.INFERENCE,
    )
