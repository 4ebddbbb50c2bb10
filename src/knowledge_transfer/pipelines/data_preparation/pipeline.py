"""Data preparation: published images to four disjoint sets."""

from kedro.pipeline import Pipeline, node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.pipelines.data_preparation.nodes import cut_published_images, measure_normalisation


def create_pipeline(experiment: Experiment | None = None) -> Pipeline:
    """Return the stage for an experiment (none: the present run's)."""
    now = experiment or current.plan().main
    published = {f"{domain}_{part}": _published(domain, part) for domain in now.mix for part in ("training", "test")}
    if now.data.unlabelled:
        published["unlabelled"] = "unlabelled_files"
    settings = {"data": "params:data", "domains": "params:domains", "settings": "params:data_preparation"}
    return Pipeline(
        [
            node(
                cut_published_images,
                {**settings, "seed": "params:seed", **published},
                ["student_images", "validation_images", "transfer_images", "test_images", "data_report"],
                name="cut_published_images",
                namespace="data_preparation",
            ),
            node(
                measure_normalisation,
                ["student_images", "params:students", "params:target"],
                "normalisation",
                name="measure_normalisation",
                namespace="data_preparation",
            ),
        ]
    )


def _published(domain: str, part: str) -> str:
    return f"published_{part}_images" if domain == ALL else f"published_{domain}_{part}_images"
