"""The study multi_teacher."""

from kedro.pipeline import Pipeline

from knowledge_transfer.pipelines import building


def create_pipeline() -> Pipeline:
    """Return the study."""
    return building.part("multi_teacher", lambda: Pipeline([]))
