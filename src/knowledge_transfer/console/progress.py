"""The progress of a run: a live table on a terminal, lines in a log file, the results at the end."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from knowledge_transfer.console.live_table import LiveTable, Row
from knowledge_transfer.console.summary import print_results
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.events import EpochEnded, Event, FitResumed, FitStarted
from knowledge_transfer.runners.local.devices import assigned_device

if TYPE_CHECKING:
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

_ALL_EPOCHS, _SOME_EPOCHS = 12, 10


class ProgressHooks:
    """Shows the fits of this process, or all nodes where a runner runs them in other processes."""

    def __init__(self) -> None:
        self._table = LiveTable()
        self._total, self._unit = 0, "fits"  # 0 in a process of single nodes
        self._started = self._done = 0
        self._without_row: set[str] = set()  # nodes that run on no device
        self._listeners: dict[str, events.Listener] = {}

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Count the fits to come."""
        self._begin(sum("training" in node.tags for node in pipeline.nodes), "fits")

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Show the fit of a training node of this process while it runs."""
        if "training" not in node.tags or assigned_device():
            return  # the driver shows nodes of other processes
        self._started += 1
        number = f"[{self._started}/{self._total}] " if self._total else ""
        stage = node.namespace or node.short_name

        def show(event: Event) -> None:
            title = f"{stage}  {event.model}"
            self._show(self._table.rows.setdefault((node.name, event.model), Row(title)), event, f"{number}{title}")

        self._listeners[node.name] = show
        events.subscribe(show)
        if self._total:
            self._table.open()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Show that its fit has finished."""
        self._leave(node, "finished")

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Show that its fit has failed."""
        self._leave(node, "failed")

    @hook_impl
    def on_run_started(self, pipeline: Pipeline, devices: tuple[str, ...]) -> None:
        """Show all nodes: they run in other processes."""
        self._begin(len(pipeline.nodes), "nodes")
        self._table.open()
        self._print(f"{self._total} nodes on {', '.join(devices)}")

    @hook_impl
    def on_node_started(self, node: Node, devices: tuple[str, ...], attempt: int) -> None:
        """Show where a node runs."""
        if "gpu" in node.tags:
            self._without_row.discard(node.short_name)
            # The namespace is long and has little information.
            name = node.name.rpartition(".")[2]
            self._table.rows[node.name, ""] = Row(name, devices, "again" if attempt > 1 else "starting")
        else:
            self._without_row.add(node.short_name)
        self._draw()

    @hook_impl
    def on_node_event(self, node: Node, event: Event) -> None:
        """Show the progress of its fit."""
        if row := self._table.rows.get((node.name, "")):
            self._show(row, event, self._title(node, row))

    @hook_impl
    def on_node_ended(self, node: Node, status: str) -> None:
        """Show how it ended."""
        self._done += status == "finished"
        self._without_row.discard(node.short_name)
        if row := self._table.rows.get((node.name, "")):
            took = row.end(status)
            self._print(f"{self._title(node, row)}  {status} after {took}")
        self._draw()

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Close the table; show the accuracy of every model, and where the results are."""
        self._table.close()
        print_results(Path(run_params["project_path"]), pipeline, catalog)

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Close the table."""
        self._table.close()

    def _begin(self, total: int, unit: str) -> None:
        self._table.close()  # after an interrupted run of the same notebook
        self._table.rows.clear()
        self._without_row.clear()
        self._total, self._unit = total, unit
        self._started = self._done = 0

    def _leave(self, node: Node, status: str) -> None:
        if listener := self._listeners.pop(node.name, None):
            events.unsubscribe(listener)
            for (name, _), row in list(self._table.rows.items()):  # fits in threads add rows
                if name == node.name and not row.ending:
                    row.end(status)
            self._done += status == "finished"
            self._draw()

    def _show(self, row: Row, event: Event, title: str) -> None:
        if isinstance(event, EpochEnded):
            row.epoch = event
            if not row.devices and event.epoch == event.epochs:
                row.end("collapsed" if event.collapse else "done")  # its node may have other fits
        elif isinstance(event, FitResumed):
            row.note = event_text(event)
        if not isinstance(event, EpochEnded) or has_line(event):
            self._print(f"{title}  {event_text(event)}")
        self._draw()

    def _title(self, node: Node, row: Row) -> str:
        return f"[{self._done}/{self._total}] {node.name}  {', '.join(row.devices)}"

    def _draw(self) -> None:
        beside = f", at {', '.join(sorted(self._without_row))}" if self._without_row else ""
        self._table.title = f"{self._done} of {self._total} {self._unit} done{beside}"
        self._table.draw()

    def _print(self, line: str) -> None:
        if not self._table.is_open:
            print(line, flush=True)  # noqa: T201


def event_text(event: Event) -> str:
    """Return the line in a log file for an event."""
    if isinstance(event, FitStarted):
        return f"{event.epochs} epochs, {event.images:,} images, {event.parameters:,} parameters"
    if isinstance(event, FitResumed):
        return f"resumes after epoch {event.epoch}"
    ended = f"done: {event.collapse}" if event.collapse else "done"
    left = f"{timedelta(seconds=round(event.seconds_left))} left" if event.epoch < event.epochs else ended
    return (
        f"epoch {event.epoch:>{len(str(event.epochs))}}/{event.epochs}  loss {event.loss:.3f}  "
        f"validation {event.validation_accuracy:.1%}  {event.images_per_second:,.0f} images/s  {left}"
    )


def has_line(event: EpochEnded) -> bool:
    """Return whether an epoch gets a line in a log file: all of a short fit, about ten of a long one."""
    if event.epochs <= _ALL_EPOCHS or event.epoch in (1, event.epochs):
        return True
    return event.epoch % math.ceil(event.epochs / _SOME_EPOCHS) == 0
