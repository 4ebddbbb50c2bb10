"""The status of a run for `kedro viz`, whose own hooks see nothing of nodes that other processes run.

kedro-viz is imported where something is written: processes that run single nodes do without.
"""

from __future__ import annotations

import atexit
import logging
import time
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline.node import Node

_OURS = ("DeviceRunner", "RayRunner")


class RunStatusHooks:
    """Writes the events that kedro-viz reads, in its form, while our runners run a whole pipeline."""

    def __init__(self) -> None:
        self._is_whole = self._is_ours = self._is_elsewhere = False
        self._events: list[dict[str, Any]] = []
        self._began: dict[str, float] = {}
        self._catalog: CatalogProtocol | None = None

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: CatalogProtocol) -> None:
        """Note whether the whole pipeline is run: of parts of one kedro-viz shows no status."""
        from kedro_viz.integrations.kedro.hooks_utils import generate_timestamp, is_default_run

        self._is_whole, self._is_elsewhere = is_default_run(run_params), False
        self._is_ours = self._is_whole and any(name in str(run_params.get("runner")) for name in _OURS)
        self._events, self._catalog = [], catalog
        # It warns that no status is written for such a runner, which is not so.
        watching = logging.getLogger("kedro_viz.integrations.kedro.run_hooks")
        (watching.addFilter if self._is_ours else watching.removeFilter)(_not_about_runners)
        # Without an end kedro-viz takes a run for a success; Ctrl-C and SIGTERM reach no hook.
        atexit.unregister(self._interrupted)
        atexit.register(self._interrupted)
        self._add({"event": "before_pipeline_run", "timestamp": generate_timestamp()})

    @hook_impl
    def on_run_placed(self) -> None:
        """Note that nodes run in other processes."""
        self._is_elsewhere = True

    @hook_impl
    def on_node_started(self, node: Node) -> None:
        """Note when."""
        self._began[node.name] = time.monotonic()

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Note when a node starts in this process, as all do where there is room for one at a time."""
        self.on_node_started(node)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Write that a node of this process is over."""
        if not self._is_elsewhere:
            self.on_node_ended(node, "finished", None)

    @hook_impl
    def on_node_error(self, node: Node, error: Exception) -> None:
        """Write what went wrong in this process."""
        if not self._is_elsewhere:
            self.on_node_ended(node, "failed", str(error))

    @hook_impl
    def on_node_ended(self, node: Node, status: str, error: str | None) -> None:
        """Write what the node read and made, and how long it took, or what went wrong."""
        if not self._is_ours:
            return
        from kedro_viz.integrations.kedro.hooks_utils import generate_timestamp, hash_node
        from kedro_viz.integrations.kedro.run_hooks import create_dataset_event

        who = {"node": node.name, "node_id": hash_node(node)}
        if status == "finished":
            for event, names in (("after_dataset_loaded", node.inputs), ("after_dataset_saved", node.outputs)):
                for name in names:
                    self._events.append(create_dataset_event(event, name, True, self._catalog))
            took = time.monotonic() - self._began[node.name]
            self._add({"event": "after_node_run", **who, "duration": took, "status": "success"})
        elif error is not None:  # none of a process that was killed and is tried once more
            self._add(
                {"event": "on_node_error", **who, "error": error, "timestamp": generate_timestamp(), "traceback": error}
            )

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Write that the run is over."""
        from kedro_viz.integrations.kedro.hooks_utils import generate_timestamp

        atexit.unregister(self._interrupted)
        self._add({"event": "after_pipeline_run", "timestamp": generate_timestamp()})

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: Exception) -> None:
        """Write that the run has failed."""
        from kedro_viz.integrations.kedro.hooks_utils import generate_timestamp

        atexit.unregister(self._interrupted)
        told = str(error)
        self._add({"event": "on_pipeline_error", "error": told, "timestamp": generate_timestamp(), "traceback": told})

    def _interrupted(self) -> None:
        self.on_pipeline_error(RuntimeError("interrupted"))

    def _add(self, event: dict[str, Any]) -> None:
        if self._is_ours:
            from kedro_viz.integrations.kedro.hooks_utils import write_events

            self._events.append(event)
            write_events(self._events)


def _not_about_runners(record: logging.LogRecord) -> bool:
    return "non-sequential runners" not in record.getMessage()
