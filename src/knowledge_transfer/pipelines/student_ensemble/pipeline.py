"""The study student_ensemble."""

from kedro.pipeline import Pipeline

from knowledge_transfer.pipelines import building


def create_pipeline() -> Pipeline:
    """Return the study."""
    return building.part("student_ensemble", lambda: Pipeline([]))
