"""The plan of the present run, from which pipelines are built; variants and studies are built under their own name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node
from pydantic import BaseModel

from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.experiment.stage_config import ARGUMENT

_Settings = TypeVar("_Settings", bound=BaseModel)
INFERENCE = "inference"  # the tag of nodes that use trained models
_MODEL, _PART = "model.", "part."  # how the tags of nodes begin that name a model, a variant or a study


@dataclass(frozen=True)
class Plan:
    """A run's checked configuration: the main experiment, and each variant and study, or its parameters' error."""

    main: Experiment
    parts: Mapping[str, BaseModel | Exception]

    def require_sound(self, name: str) -> None:
        """Raise the error of that part, if it has one."""
        part = self.parts.get(name)
        if isinstance(part, Exception):
            raise part


_plans: list[Plan] = []  # Kedro calls `create_pipeline` without arguments: this one is the present run's


def use(plan: Plan) -> None:
    """Make `plan` that of the present run."""
    _plans[:] = [plan]


def is_set() -> bool:
    """Return whether the present run has a plan."""
    return bool(_plans)


def plan() -> Plan:
    """Return the plan of the present run. Raises RuntimeError where there is none."""
    if not _plans:
        raise RuntimeError("no experiment is set: build pipelines through the registry or a Kedro session")
    return _plans[-1]


def build_part(name: str, create: Callable[[Any], Pipeline], settings: _Settings | None = None) -> Pipeline:
    """Return what `create` builds from `settings` (none: the present run's), names prefixed by `<name>_`.

    Empty without settings; invalid settings make a node that raises their error, so that other pipelines can be built.
    """
    part = settings if settings is not None else plan().parts.get(name)
    if part is None:
        return Pipeline([])
    if isinstance(part, Exception):

        def refuse() -> None:
            plan().require_sound(name)

        return Pipeline([node(refuse, None, f"{name}_refusal", name="refuse")], tags=f"{_PART}{name}")
    return _renamed(create(cast("_Settings", part)), name)


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


def acceptance_tags(model: str, *further: str) -> list[str]:
    """Return the tags of the node that decides which weights of `model` are kept."""
    return ["acceptance", "gpu", f"{_MODEL}{model}", *further]


def final_models(experiment: Experiment) -> dict[str, str]:
    """Return the checkpoint of each model after the last round, the target's last, by the argument of a node."""
    names = (*experiment.students, experiment.target.name)
    return {f"{ARGUMENT}{name}": f"{name}_round{experiment.rounds}_checkpoint" for name in names}


def is_inference(pipeline: Pipeline) -> bool:
    """Return whether the pipeline only uses what others have trained."""
    return bool(pipeline.nodes) and all(INFERENCE in node.tags for node in pipeline.nodes)


def model_name(node: Node) -> str:
    """Return the name of the model that a training or acceptance node makes."""
    return _tagged(node.tags, _MODEL) or node.short_name


def part_of(pipeline: Pipeline) -> str:
    """Return the variant or study that the pipeline belongs to, the empty string for the main experiment."""
    return next((name for node in pipeline.nodes if (name := _tagged(node.tags, _PART))), "")


def prefix_of(pipeline: Pipeline) -> str:
    """Return the prefix of a pipeline's datasets: `heterogeneous_`, or the empty string in the main experiment."""
    part = part_of(pipeline)
    return f"{part}_" if part else ""


def _tagged(tags: set[str], beginning: str) -> str:
    return next((tag.removeprefix(beginning) for tag in sorted(tags) if tag.startswith(beginning)), "")


def summary_rows(pipeline: Pipeline, catalog: CatalogProtocol) -> list[dict[str, Any]]:
    """Return the rows of the `summary` that `pipeline` made, none if it made none."""
    names = {f"{prefix_of(pipeline)}{name}" for name in ("summary", "repeats_summary")} & pipeline.all_outputs()
    if not names:
        return []
    name = min(names)
    # Not through the catalog, which would log that it loads.
    dataset = catalog.get(name)
    return list(dataset.load()["rows"]) if dataset is not None and dataset.exists() else []
