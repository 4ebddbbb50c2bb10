"""When and where each node of a run began and ended, for the report."""

import json
import logging
import os
import time
from threading import Lock
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import AbstractDataset, DataCatalog, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.experiment.current import model_name, prefix_of
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.runners.local.devices import CPU
from knowledge_transfer.runners.local.runner import DeviceSettings

logger = logging.getLogger(__name__)


class TimelineHooks:
    """Saves the dataset `timeline` of a run that reads it whenever a node begins or ends."""

    def __init__(self) -> None:
        self._timeline = _Timeline(None, [])
        self._device = CPU

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Begin a timeline without nodes."""
        name = f"{prefix_of(pipeline)}timeline"
        is_read = name in pipeline.inputs()
        # Nodes of this process share a device; a runner of this project names others.
        self._device = _own_device(pipeline, catalog) if is_read else CPU
        self._timeline = _Timeline(catalog.get(name) if is_read else None, [self._device])

    @hook_impl
    def on_run_started(self, devices: tuple[str, ...]) -> None:
        """Note on which devices nodes are about to run."""
        self._timeline.devices = list(devices)

    @hook_impl
    def on_node_started(self, node: Node, devices: tuple[str, ...], attempt: int) -> None:
        """Note that a node has begun in another process."""
        self._timeline.begin(node, list(devices), attempt)

    @hook_impl
    def on_node_ended(self, node: Node, status: str) -> None:
        """Note how a node of another process has ended."""
        self._timeline.end(node, status)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Note that a node has begun."""
        self.on_node_started(node, (self._device if "gpu" in node.tags else CPU,), 1)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Note that a node has finished."""
        self.on_node_ended(node, "finished")

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Note that a node has failed."""
        self.on_node_ended(node, "failed")


class _Timeline:
    """The timeline of one run, saved in a dataset if there is one."""

    def __init__(self, dataset: AbstractDataset[Any, Any] | None, devices: list[str]) -> None:
        self.devices = devices
        self._dataset = dataset
        self._process = os.getpid()
        self._lock = Lock()
        self._has_warned = False
        self._began = time.time()
        self._nodes: list[dict[str, Any]] = []
        self._running: dict[str, dict[str, Any]] = {}
        self._save()

    def begin(self, node: Node, devices: list[str], attempt: int) -> None:
        """Add a node that is running."""
        with self._lock:
            self._running[node.name] = entry = {
                "node": node.name,
                "model": model_name(node) if "training" in node.tags else None,
                "places": devices,
                "started": time.time(),
                "ended": None,
                "status": "running",
                "attempt": attempt,
            }
            self._nodes.append(entry)
            self._save()

    def end(self, node: Node, status: str) -> None:
        """Note when and how a node that was running has ended."""
        with self._lock:
            if entry := self._running.pop(node.name, None):
                entry |= {"ended": time.time(), "status": status}
                self._save()

    def _save(self) -> None:
        # A forked process has an outdated copy.
        if self._dataset is not None and os.getpid() == self._process:
            try:
                content = {"began": self._began, "places": self.devices, "nodes": self._nodes}
                # The catalog would log every save. Atomic, because a node of another process may read it.
                if store := Store.of(self._dataset):
                    store.write(json.dumps(content, indent=2).encode())
                else:
                    self._dataset.save(content)
            except (DatasetError, OSError) as error:  # a full disk, for example, must not stop a run
                if not self._has_warned:
                    logger.warning("the timeline cannot be saved (%s): the run continues without it", error)
                self._has_warned = True


def _own_device(pipeline: Pipeline, catalog: DataCatalog) -> str:
    try:
        return str(resolve_device(DeviceSettings.of(pipeline, catalog).devices))
    except ValueError:  # devices of a cluster
        return CPU
