"""What pipelines are built from, and how a variant or a study is built from the same pieces under its own name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node
from pydantic import BaseModel

from knowledge_transfer.experiment.config import Experiment

_Settings = TypeVar("_Settings", bound=BaseModel)
_MODEL, _PART = "model.", "part."  # how the tags of nodes begin that name a model, a variant or a study


@dataclass(frozen=True)
class Plan:
    """A run's checked configuration: the main experiment, and each variant and study by name.

    One of these may be the error that its parameters raise: it concerns that part alone.
    """

    main: Experiment
    parts: Mapping[str, BaseModel | Exception]

    def require_sound(self, name: str) -> None:
        """Raise the error of that part, if it has one."""
        part = self.parts.get(name)
        if isinstance(part, Exception):
            raise part


_plans: list[Plan] = []  # Kedro calls `create_pipeline` without arguments: the last one is that of the present run


def use(plan: Plan) -> None:
    """Build pipelines from `plan` from now on where they are not handed anything else."""
    _plans[:] = [plan]


def is_set() -> bool:
    """Return whether there is a plan to build pipelines from."""
    return bool(_plans)


def plan() -> Plan:
    """Return the plan of the present run. Raises RuntimeError where there is none."""
    if not _plans:
        raise RuntimeError("no experiment is set: build pipelines through the registry or a Kedro session")
    return _plans[-1]


def build_part(name: str, create: Callable[[Any], Pipeline], settings: _Settings | None = None) -> Pipeline:
    """Return what `create` builds from `settings`, its datasets called `<name>_…`, its parameters `<name>.…`.

    Without `settings` they are those of the present run's part of that name. An empty pipeline where there are none.
    Where they cannot be used, it is a node that raises the reason: pipelines are built together, others must not fail.
    """
    part = settings if settings is not None else plan().parts.get(name)
    if part is None:
        return Pipeline([])
    if isinstance(part, Exception):
        return Pipeline([node(_refusing(part), None, f"{name}_refusal", name="refuse")], tags=f"{_PART}{name}")
    return _renamed(create(cast("_Settings", part)), name)


def _refusing(error: Exception) -> Callable[[], None]:
    def refuse() -> None:
        raise error

    return refuse


def _renamed(pipeline: Pipeline, name: str) -> Pipeline:
    names = pipeline.datasets()
    shared = [each for each in pipeline.inputs() if each.startswith("published_") and each.endswith("_images")]
    own = {each: f"{name}_{each}" for each in names if not each.startswith("params:") and each not in shared}
    parameters = [each for each in names if each.startswith("params:") and each != f"params:{name}"]
    return Pipeline(
        pipeline,
        inputs={each: own[each] for each in pipeline.inputs() if each in own},
        outputs={each: own[each] for each in pipeline.all_outputs()},
        parameters={each: each.replace("params:", f"params:{name}.") for each in parameters},
        tags=f"{_PART}{name}",
    )


def training_tags(model: str, *further: str) -> list[str]:
    """Return the tags of the node that trains `model`."""
    return ["training", "gpu", f"{_MODEL}{model}", *further]


def model_name(node: Node) -> str:
    """Return the name of the model that a training node makes."""
    return _tagged(node.tags, _MODEL) or node.short_name


def part_of(pipeline: Pipeline) -> str:
    """Return the variant or study that the pipeline belongs to, the empty string for the main experiment."""
    return next((name for node in pipeline.nodes if (name := _tagged(node.tags, _PART))), "")


def prefix_of(pipeline: Pipeline) -> str:
    """Return what the datasets of a pipeline begin with: `heterogeneous_` in that variant, nothing in the main one."""
    part = part_of(pipeline)
    return f"{part}_" if part else ""


def _tagged(tags: set[str], beginning: str) -> str:
    return next((tag.removeprefix(beginning) for tag in sorted(tags) if tag.startswith(beginning)), "")


def summary_rows(pipeline: Pipeline, catalog: CatalogProtocol) -> list[dict[str, Any]]:
    """Return the rows of the `summary` that `pipeline` made, none if it made none."""
    name = f"{prefix_of(pipeline)}summary"
    if name not in pipeline.all_outputs():
        return []
    # Not through the catalog, which would log that it loads.
    dataset = catalog.get(name)
    return list(dataset.load()["rows"]) if dataset is not None and dataset.exists() else []
