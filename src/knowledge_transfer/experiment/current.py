"""What pipelines are built from: the main experiment of the configuration, a variant of it, or a study."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, update_wrapper
from typing import Any, cast

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node
from pydantic import BaseModel

from knowledge_transfer.experiment.config import PARTS, Experiment

_current: Experiment | None = None
_variants: dict[str, BaseModel | Exception] = {}
_variant: str | None = None


def set_current(experiment: Experiment, variants: Mapping[str, BaseModel | Exception] | None = None) -> None:
    """Build pipelines from `experiment`, its variants and the studies from now on.

    Each of these may be the error that its parameters raised, which is nobody's but who runs it.
    """
    global _current, _variants
    _current, _variants = experiment, dict(variants or {})


def is_set() -> bool:
    """Return whether there is an experiment to build pipelines from."""
    return _current is not None


def has_variant(name: str) -> bool:
    """Return whether the configuration has that variant or study."""
    return name in _variants


def is_sound(name: str) -> bool:
    """Return whether the parameters of that variant can be used."""
    return not isinstance(_variants.get(name), Exception)


def require_sound(name: str) -> None:
    """Raise what is wrong with that variant, if anything is."""
    found = _variants.get(name)
    if isinstance(found, Exception):
        raise found


def current() -> Experiment:
    """Return the experiment to build pipelines from. Raises RuntimeError where none was set, or what is wrong."""
    if _current is None:
        raise RuntimeError("no experiment is set: build pipelines through the registry or a Kedro session")
    if _variant is None:
        return _current
    require_sound(_variant)
    return cast("Experiment", _variants[_variant])


def study() -> BaseModel:
    """Return the settings of the study whose pipeline is being built."""
    if _variant is None:
        raise RuntimeError("no study is being built: studies are built by `part`")
    require_sound(_variant)
    return cast("BaseModel", _variants[_variant])


def all_parameters() -> str:
    """Return the name under which the catalog has all parameters of the current experiment."""
    return "parameters" if _variant is None else f"params:{_variant}"


@contextmanager
def variant(name: str) -> Iterator[None]:
    """Build pipelines from that variant of the experiment meanwhile."""
    global _variant  # noqa: PLW0603
    before, _variant = _variant, name
    try:
        yield
    finally:
        _variant = before


def prefix_of(pipeline: Pipeline) -> str:
    """Return what the datasets of a pipeline begin with: `heterogeneous_` in that variant, nothing in the main one."""
    names = pipeline.datasets()
    return next((f"{name}_" for name in PARTS if any(each.startswith(f"{name}_") for each in names)), "")


def model_name(node: Node) -> str:
    """Return the identity of the model that a training node makes, from the name of its checkpoint."""
    variants = "|".join(PARTS)
    names = (
        re.fullmatch(rf"(?:.*\.)?(?:(?:{variants})_)?(.+?)(?:_round\d+)?_checkpoint", output) for output in node.outputs
    )
    return next((match[1] for match in names if match), node.short_name)


def stage_namespace(stage: str, round_: int) -> str:
    """Return the namespace of one round of a stage; a group must be whole, so several rounds are several groups."""
    return stage if current().rounds == 1 else f"round_{round_}.{stage}"


def as_variant(pipeline: Pipeline, name: str) -> Pipeline:
    """Return the pipeline with datasets called `<name>_…`, published images excepted, and the variant's parameters."""
    names = pipeline.datasets()
    shared = [each for each in pipeline.inputs() if each.startswith("published_") and each.endswith("_images")]
    own = {
        each: f"{name}_{each}"
        for each in names
        if each != "parameters" and not each.startswith("params:") and each not in shared
    }
    parameters = [each for each in names if each.startswith("params:") and each != f"params:{name}"]
    return Pipeline(
        pipeline,
        inputs={each: own[each] for each in pipeline.inputs() if each in own},
        outputs={each: own[each] for each in pipeline.all_outputs()},
        parameters={each: each.replace("params:", f"params:{name}.") for each in parameters},
    )


def part(name: str, create: Callable[[], Pipeline]) -> Pipeline:
    """Return what `create` builds from the parameters called `name`, with its datasets called `<name>_…`.

    An empty pipeline where the configuration has none. Where they cannot be used, it is a node that says so: pipelines
    are built together, and others must not suffer.
    """
    if not has_variant(name):
        return Pipeline([])
    if not is_sound(name):
        refuse = update_wrapper(partial(require_sound, name), require_sound)
        return Pipeline([node(refuse, None, f"{name}_refusal", name="refuse")])
    with variant(name):
        return as_variant(create(), name)


def summary_rows(pipeline: Pipeline, catalog: CatalogProtocol) -> list[dict[str, Any]]:
    """Return the rows of the `summary` that `pipeline` made, none if it made none."""
    name = f"{prefix_of(pipeline)}summary"
    if name not in pipeline.all_outputs():
        return []
    # Not through the catalog, which would log that it loads.
    dataset = catalog.get(name)
    return list(dataset.load()["rows"]) if dataset is not None and dataset.exists() else []
