"""The stages of the main experiment over a mix of domains: only the data and the parameters are others."""

from kedro.pipeline import Pipeline, node

from knowledge_transfer.pipelines import bidirectional, building

_NAME = "heterogeneous"


def create_pipeline() -> Pipeline:
    """Return the experiment, none where the parameters have no block `heterogeneous`.

    Where they cannot be used, it is a node that says so: pipelines are built together, and others must not suffer.
    """
    if not building.has_variant(_NAME):
        return Pipeline([])
    if not building.is_sound(_NAME):
        return Pipeline([node(refuse, None, f"{_NAME}_refusal", name="refuse")])
    with building.variant(_NAME):
        return building.as_variant(bidirectional.create_pipeline(), _NAME)


def refuse() -> None:
    """Raise what is wrong with the parameters."""
    building.require_sound(_NAME)
