"""What a run shows on the console: how far every fit is, and at the end what came out of it."""

from __future__ import annotations

import atexit
import math
import os
import threading
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich
from kedro.framework.hooks import hook_impl
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column, Table

from knowledge_transfer.datasets.storage.store import file_of, without_password
from knowledge_transfer.experiment.current import prefix_of, summary_rows
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.events import EpochEnded, Event, FitResumed, FitStarted
from knowledge_transfer.runners.worker import place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

_STAGES = ("before", "after", "ensemble", "target", "reference")
_ALL_EPOCHS, _SOME_EPOCHS = 12, 10
_ROOM_FOR_A_BAR = 120  # columns
_RULE = "ensemble_mean_probabilities"  # of fourteen rules; the report has them all
_WIDE = 160  # columns, where nobody's window cuts the table off


class ProgressHooks:
    """Shows every fit: a live line on a terminal, plain lines in a log file or from a process that is one of many."""

    def __init__(self) -> None:
        self._training: list[str] | None = None
        self._started = 0
        self._fits: dict[str, _Lines | _LiveLine] = {}

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Count the fits to come."""
        self._training = [node.name for node in pipeline.nodes if "training" in node.tags]
        self._started = 0

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Show the fit of a training node while it runs."""
        if "training" not in node.tags or place():
            return  # of what runs elsewhere the driver shows a table
        self._started += 1
        # A process that never saw the pipeline runs this node alone, and cannot know how many others do.
        number = f"[{self._started}/{len(self._training)}] " if self._training else ""
        # Two live lines would write over each other: only the main thread of the pipeline's own process draws one.
        alone = bool(self._training) and threading.current_thread() is threading.main_thread()
        live = alone and rich.get_console().is_terminal
        title = f"{number}{node.namespace or node.short_name}"
        self._fits[node.name] = fit = _LiveLine(title) if live else _Lines(title)
        events.subscribe(fit.hear)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Leave the last line as it is."""
        self._leave(node)

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Leave the last line as it is."""
        self._leave(node)

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Show the accuracy of every model, and where the results are."""
        console = rich.get_console()
        if not console.is_terminal:
            console = Console(width=_WIDE)
        if rows := summary_rows(pipeline, catalog):
            console.print(summary_table(_told(rows)))
        for line in _places(Path(run_params["project_path"]), pipeline, catalog):
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _leave(self, node: Node) -> None:
        if fit := self._fits.pop(node.name, None):
            events.unsubscribe(fit.hear)
            fit.close()


class _Lines:
    """A fit as plain lines: all epochs of a short one, about ten of a long one."""

    def __init__(self, title: str) -> None:
        self._title = title

    def hear(self, event: Event) -> None:
        if isinstance(event, FitStarted):
            size = f"{event.epochs} epochs, {event.images:,} images, {event.parameters:,} parameters"
            self._say(event.model, size)
        elif isinstance(event, FitResumed):
            self._say(event.model, f"goes on after epoch {event.epoch}")
        elif is_told(event):
            number = f"epoch {event.epoch:>{len(str(event.epochs))}}/{event.epochs}"
            self._say(event.model, f"{number}  {numbers(event)}")

    def close(self) -> None:
        """There is nothing to tidy up."""

    def _say(self, model: str, what: str) -> None:
        print(f"{self._title}  {model}  {what}", flush=True)  # noqa: T201


class _LiveLine:
    """A fit as one line that is redrawn, below the log lines that pass by."""

    def __init__(self, title: str) -> None:
        # On a narrow terminal the words go first: they wrap rather than end in dots, and leave the bar no room.
        wrapping = Column(overflow="fold")
        columns = [
            TextColumn("{task.description}", markup=False, table_column=wrapping),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[numbers]}", table_column=wrapping),
        ]
        if rich.get_console().width < _ROOM_FOR_A_BAR:
            del columns[1]
        self._title = title
        self._progress = Progress(*columns, console=rich.get_console(), auto_refresh=False)
        self._task: TaskID | None = None

    def hear(self, event: Event) -> None:
        if isinstance(event, FitStarted):
            self._task = self._progress.add_task(
                f"{self._title}  {event.model}", total=event.epochs, numbers=f"epoch 0/{event.epochs}"
            )
            self._progress.start()
            # Ctrl-C reaches no hook, and a line that is not closed keeps the terminal's cursor.
            atexit.register(self.close)
        elif self._task is not None:
            if isinstance(event, FitResumed):
                told = f"goes on after epoch {event.epoch}"
            else:
                told = f"epoch {event.epoch}/{event.epochs}  {numbers(event)}"
            self._progress.update(self._task, completed=event.epoch, numbers=told, refresh=True)

    def close(self) -> None:
        self._progress.stop()
        atexit.unregister(self.close)


def _told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows for the console: of the ensembles one rule, of a mix the single domains of the target alone."""
    if ALL not in {row.get("domain") for row in rows}:
        return [row for row in rows if row["stage"] != "ensemble" or row["model"] == _RULE]
    everywhere = {row["model"] for row in rows if row["domain"] == ALL}
    return [row for row in rows if row["domain"] == ALL or row["model"] not in everywhere or row["stage"] == "target"]


def summary_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of the rows, grouped by stage in the order of the experiment."""
    table = Table()
    rows = list(rows)
    is_mix = bool(rows) and "domain" in rows[0]
    for heading in ("model", "stage", *(["domain"] if is_mix else [])):
        table.add_column(heading, no_wrap=True)
    joint = ["joint accuracy %"] if is_mix else []
    for heading in ("round", "accuracy %", *joint, "NLL", "ECE %", "parameters", "images/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    order = {stage: place for place, stage in enumerate(_STAGES)}
    shown = None
    for row in sorted(rows, key=lambda row: order.get(row["stage"], len(order))):
        if shown not in (None, row["stage"]):
            table.add_section()
        shown = row["stage"]
        table.add_row(
            row["model"],
            row["stage"],
            *([row["domain"]] if is_mix else []),
            _number(row["round"], "d"),
            _number(row["accuracy"], ".1f", 100),
            *([_number(row["joint_accuracy"], ".1f", 100)] if is_mix else []),
            _number(row["nll"], ".3f"),
            _number(row["ece"], ".1f", 100),
            _number(row["parameters"], ",d"),
            _number(row["images_per_second"], ",.0f"),
        )
    return table


def _number(value: float | None, how: str, factor: int = 1) -> str:
    return "–" if value is None else format(value * factor, how)


def numbers(event: EpochEnded) -> str:
    """Return what is shown of an epoch."""
    left = f"{timedelta(seconds=round(event.seconds_left))} left" if event.epoch < event.epochs else "done"
    accuracy = f"validation {event.validation_accuracy:.1%}"
    return f"loss {event.loss:.3f}  {accuracy}  {event.images_per_second:,.0f} images/s  {left}"


def is_told(event: EpochEnded) -> bool:
    """Return whether an epoch gets a line of its own: all of a short fit, about ten of a long one."""
    if event.epochs <= _ALL_EPOCHS or event.epoch in (1, event.epochs):
        return True
    return event.epoch % math.ceil(event.epochs / _SOME_EPOCHS) == 0


def _places(project: Path, pipeline: Pipeline, catalog: DataCatalog) -> Iterable[str]:
    """Yield where the report, the checkpoints and the tracked runs are."""
    outputs, name = pipeline.all_outputs(), f"{prefix_of(pipeline)}report_page"
    if name in outputs and (report := file_of(catalog, name)):
        yield f"report       {_within(project, report.address)}"
    files = [file_of(catalog, name) for name in outputs if name.endswith("_checkpoint")]
    for folder in sorted({file.address.rpartition("/")[0] for file in files if file}):
        yield f"checkpoints  {_within(project, folder)}"
    local = f"sqlite:///{project / 'mlflow.db'}"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or local
    yield f"MLflow       {'mlflow.db (make mlflow)' if uri == local else without_password(uri)}"


def _within(project: Path, address: str) -> str:
    path = Path(address)
    return str(path.relative_to(project)) if path.is_relative_to(project) else address
