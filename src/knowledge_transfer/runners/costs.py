"""The expected cost of nodes, by which the longest chain of work starts first."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from pydantic import BaseModel

from knowledge_transfer.learning.evaluation.predict import multiply_adds
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import empty

_SIZE, _SIZE_ELSEWHERE = 32, 224  # pixels of side at which networks are compared, and which others' networks take


def priorities(pipeline: Pipeline, costs: Mapping[str, float]) -> dict[str, float]:
    """Return for each node, by name, its cost and that of the dearest chain of nodes that wait for it.

    To start the highest first is list scheduling by critical path (Graham 1969).
    """
    waiting: dict[Node, set[Node]] = {node: set() for node in pipeline.nodes}
    for node, needs in pipeline.node_dependencies.items():
        for need in needs:
            waiting[need].add(node)
    found: dict[str, float] = {}
    for node in reversed(pipeline.nodes):  # in an order that can be run
        found[node.name] = costs.get(node.name, 0.0) + max((found[each.name] for each in waiting[node]), default=0.0)
    return found


def expected_costs(pipeline: Pipeline, catalog: CatalogProtocol) -> dict[str, float]:
    """Return for each training node, by name, multiply-adds x share of the images x epochs, up to a common factor."""
    costs: dict[str, float] = {}
    for node in pipeline.nodes:
        if "training" in node.tags:
            blocks = _settings(node, catalog)
            model = next((block for block in blocks if "architecture" in block), None)
            # A study has network and recipe in one block.
            stage = next((block for block in blocks if "recipe" in block and block is not model), model)
            if model and stage and "epochs" in stage.get("recipe", {}):
                costs[node.name] = (
                    _multiply_adds(Architecture(**model["architecture"])) * _images(stage) * _epochs(model, stage)
                )
    return costs


def devices_of(pipeline: Pipeline, catalog: CatalogProtocol) -> dict[str, int]:
    """Return the number of devices of each node that computes on one: `devices` of its model, else 1."""
    found: dict[str, int] = {}
    for node in pipeline.nodes:
        if "gpu" in node.tags:
            blocks = _settings(node, catalog) if "training" in node.tags else []
            found[node.name] = max((block.get("devices", 1) for block in blocks), default=1)
    return found


def _settings(node: Node, catalog: CatalogProtocol) -> list[Mapping[str, Any]]:
    """Return the parameters of a node that are mappings."""
    values = [catalog.load(name) for name in node.inputs if name.startswith("params:")]
    plain = [value.model_dump() if isinstance(value, BaseModel) else value for value in values]
    return [value for value in plain if isinstance(value, Mapping)]


def _epochs(model: Mapping[str, Any], stage: Mapping[str, Any]) -> int:
    changes = model.get("reverse_recipe" if "distillation" in stage else "recipe") or {}
    return int(changes.get("epochs", stage["recipe"]["epochs"]))


def _images(stage: Mapping[str, Any]) -> int:
    """Return the number of image sets that a fit reads."""
    return 2 if stage.get("distillation", {}).get("student_set") else 1


@cache
def _multiply_adds(architecture: Architecture) -> int:
    # A network from elsewhere may not be buildable without memory, nor take images this small.
    is_own = not architecture.is_external
    size = _SIZE if is_own or architecture.size else _SIZE_ELSEWHERE
    try:
        network = empty(architecture, classes=10, channels=3, image_size=size, mean=(0.5,) * 3, deviation=(0.5,) * 3)
        with torch.device("meta" if is_own else "cpu"):
            return multiply_adds(network, 3, size) * _SIZE**2 // size**2
    except Exception:  # what a user's network raises: its trial, before it is trained, says what is wrong
        return 0
