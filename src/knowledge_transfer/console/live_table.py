"""What a run shows while several nodes run at once: who is where, how far, and how long yet."""

from __future__ import annotations

import atexit
import time
from dataclasses import dataclass
from datetime import timedelta

import rich
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from rich.live import Live
from rich.table import Table

from knowledge_transfer.console.progress import is_told, numbers
from knowledge_transfer.learning.training.events import EpochEnded, Event, FitResumed, FitStarted

_COLUMNS = ("node", "device", "epoch", "loss", "validation", "images/s", "left")
_WIDE, _ONLY_WIDE = 100, ("loss", "images/s")  # from how many characters on there is room for these columns, too


@dataclass
class _Row:
    """A node that runs or has run."""

    places: tuple[str, ...]
    began: float
    what: str = ""
    epoch: EpochEnded | None = None
    ending: str | None = None

    def cells(self) -> tuple[str, ...]:
        """Return what the columns behind the node's name show."""
        epoch = self.epoch
        told = ("", "", "", "")
        if epoch:
            told = (
                f"{epoch.epoch}/{epoch.epochs}",
                f"{epoch.loss:.3f}",
                f"{epoch.validation_accuracy:.1%}",
                f"{epoch.images_per_second:,.0f}",
            )
        left = str(timedelta(seconds=round(epoch.seconds_left))) if epoch else ""
        return (", ".join(self.places), *told, self.ending or left or self.what)


class BoardHooks:
    """Shows nodes that other processes run: a live table on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._running: set[str] = set()  # of nodes without a row
        self._live: Live | None = None
        self._count = self._done = 0

    @hook_impl
    def on_run_placed(self, pipeline: Pipeline, places: tuple[str, ...]) -> None:
        """Open the table."""
        self._rows.clear()
        self._running.clear()
        self._count, self._done = len(pipeline.nodes), 0
        if rich.get_console().is_terminal:
            self._live = Live(console=rich.get_console(), auto_refresh=False, transient=True)
            self._live.start()
            # Ctrl-C reaches no hook, and a table that is not closed keeps the terminal's cursor.
            atexit.register(self._live.stop)
        else:
            self._say(f"{self._count} nodes on {', '.join(places)}")

    @hook_impl
    def on_node_started(self, node: Node, places: tuple[str, ...], attempt: int) -> None:
        """Show where a node runs."""
        if "gpu" in node.tags:
            self._running.discard(node.short_name)
            self._rows[node.name] = _Row(places, time.monotonic(), "again" if attempt > 1 else "starting")
        else:
            self._running.add(node.short_name)
        self._draw()

    @hook_impl
    def on_node_told(self, node: Node, event: Event) -> None:
        """Show how far its fit is."""
        row = self._rows.get(node.name)
        if row is None:
            return
        if isinstance(event, EpochEnded):
            row.epoch = event
            if is_told(event):
                self._line(node, row, f"epoch {event.epoch:>{len(str(event.epochs))}}/{event.epochs}  {numbers(event)}")
        elif isinstance(event, FitResumed):
            row.what = f"goes on after epoch {event.epoch}"
            self._line(node, row, row.what)
        elif isinstance(event, FitStarted):
            self._line(node, row, f"{event.epochs} epochs, {event.images:,} images, {event.parameters:,} parameters")
        self._draw()

    @hook_impl
    def on_node_ended(self, node: Node, status: str) -> None:
        """Show how it ended."""
        self._done += status == "finished"
        self._running.discard(node.short_name)
        if row := self._rows.get(node.name):
            took = timedelta(seconds=round(time.monotonic() - row.began))
            row.ending = f"{status} {took}"
            self._line(node, row, f"{status} after {took}")
        self._draw()

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close the table."""
        self._close()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Close the table."""
        self._close()

    def _close(self) -> None:
        if self._live:
            # What stays on the screen is the whole of it.
            self._live.transient = False
            self._draw()
            self._live.stop()
            atexit.unregister(self._live.stop)
            self._live = None

    def _draw(self) -> None:
        if self._live:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        beside = f", at {', '.join(sorted(self._running))}" if self._running else ""
        table = Table(title=f"{self._done} of {self._count} nodes done{beside}", title_justify="left")
        is_wide = rich.get_console().width >= _WIDE
        shown = [number for number, heading in enumerate(_COLUMNS) if is_wide or heading not in _ONLY_WIDE]
        for heading in (_COLUMNS[number] for number in shown):
            # Where a terminal is narrow, names are cut off and not numbers.
            is_kept, is_word = heading != "node", heading in _COLUMNS[:2]
            table.add_column(heading, justify="left" if is_word else "right", no_wrap=is_kept, overflow="ellipsis")
        rows = list(self._rows.items())
        if self._live and self._live.transient:
            # Where it is low, what ended first is not seen, and never what runs.
            running = [each for each in rows if not each[1].ending]
            rows = running + [each for each in reversed(rows) if each[1].ending]
        for name, row in rows:
            # Without its namespace, which is most of a name and the least telling part.
            cells = (name.rpartition(".")[2], *row.cells())
            table.add_row(*(cells[number] for number in shown), style="dim" if row.ending else None)
        return table

    def _line(self, node: Node, row: _Row, what: str) -> None:
        if self._live is None:
            self._say(f"[{self._done}/{self._count}] {node.name}  {', '.join(row.places)}  {what}")

    @staticmethod
    def _say(what: str) -> None:
        print(what, flush=True)  # noqa: T201
