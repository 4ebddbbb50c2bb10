"""When each node of a run began and ended, for the report to show where the time went."""

from __future__ import annotations

import os
import time
from threading import Lock
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from knowledge_transfer.pipelines.building import model_name, prefix_of
from knowledge_transfer.runners.places import CPU

_PLACE = "cpu"  # one name will do for a process that runs every node itself


class TimelineHooks:
    """Keeps the dataset `timeline` of a run that reads it: its nodes in this process, saved whenever one changes."""

    def __init__(self) -> None:
        self._timeline: _Timeline | None = None

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Begin a timeline without nodes."""
        name = f"{prefix_of(pipeline)}timeline"
        self._timeline = _Timeline(catalog.get(name)) if name in pipeline.inputs() else None

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Note that a node has begun."""
        self._begin(node, [self._device if "gpu" in node.tags else CPU], 1)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Note that a node has finished."""
        if self._timeline is not None:
            self._timeline.end(node, "finished")

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Note that a node has failed."""
        if self._timeline is not None:
            self._timeline.end(node, "failed")


class _Timeline:
    """The timeline of one run and the dataset that always holds all of it."""

    def __init__(self, dataset: AbstractDataset[Any, Any]) -> None:
        self._dataset = dataset
        self._process = os.getpid()
        self._lock = Lock()
        self._began = time.time()
        self._nodes: dict[str, dict[str, Any]] = {}
        self._save()

    def begin(self, node: Node) -> None:
        """Add a node that is running."""
        with self._lock:
            self._nodes[node.name] = {
                "node": node.name,
                "model": model_name(node) if "training" in node.tags else None,
                "places": [_PLACE],
                "started": time.time(),
                "ended": None,
                "status": "running",
                "attempt": 1,
            }
            self._save()

    def end(self, node: Node, status: str) -> None:
        """Say when and how a node that was running has ended."""
        with self._lock:
            if node.name in self._nodes:
                self._nodes[node.name] |= {"ended": time.time(), "status": status}
                self._save()

    def _save(self) -> None:
        # A forked process has a copy of all this, and would write over what others have added.
        if os.getpid() == self._process:
            # Not through the catalog, which would log that it saves, twice for every node.
            self._dataset.save({"began": self._began, "places": [_PLACE], "nodes": list(self._nodes.values())})
