"""A live table of the running nodes: device, progress, time left."""

import atexit
import time
from dataclasses import dataclass, field
from datetime import timedelta

import rich
from rich.live import Live
from rich.table import Table

from knowledge_transfer.learning.training.events import EpochEnded

_COLUMNS = ("node", "device", "epoch", "loss", "validation", "images/s", "left")
_WIDE, _ONLY_WIDE = 100, ("loss", "images/s")  # characters, from which on the table has these columns


@dataclass
class Row:
    """A node, or a fit, that runs or has run."""

    name: str
    devices: tuple[str, ...] = ()
    note: str = ""
    epoch: EpochEnded | None = None
    ending: str = ""
    began: float = field(default_factory=time.monotonic)

    def end(self, status: str) -> timedelta:
        """Show how it ended; return its duration."""
        took = timedelta(seconds=round(time.monotonic() - self.began))
        self.ending = f"{status} {took}"
        return took

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the columns."""
        epoch = self.epoch
        if epoch is None:
            return (self.name, ", ".join(self.devices), "", "", "", "", self.ending or self.note)
        return (
            self.name,
            ", ".join(self.devices),
            f"{epoch.epoch}/{epoch.epochs}",
            f"{epoch.loss:.3f}",
            f"{epoch.validation_accuracy:.1%}",
            f"{epoch.images_per_second:,.0f}",
            self.ending or str(timedelta(seconds=round(epoch.seconds_left))),
        )


class LiveTable:
    """Rows by node and, in this process, by model; drawn once the table is open."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.title = ""
        self._live: Live | None = None

    @property
    def is_open(self) -> bool:
        """Whether the table is on the screen."""
        return self._live is not None

    def open(self) -> None:
        """Show the table, where the console is a terminal and does not show it yet."""
        if self._live is None and rich.get_console().is_terminal:
            self._live = Live(console=rich.get_console(), auto_refresh=False, transient=True)
            self._live.start()
            # Ctrl-C calls no hook, and an open table hides the cursor.
            atexit.register(self._live.stop)

    def draw(self) -> None:
        """Redraw the table."""
        if self._live:
            self._live.update(self._table(), refresh=True)

    def close(self) -> None:
        """Leave the whole table on the screen."""
        if self._live:
            self._live.transient = False
            self.draw()
            self._live.stop()
            atexit.unregister(self._live.stop)
            self._live = None

    def _table(self) -> Table:
        table = Table(title=self.title, title_justify="left")
        rows = list(self.rows.values())
        has_devices = any(row.devices for row in rows)
        is_narrow = rich.get_console().width < _WIDE
        hidden = (_ONLY_WIDE if is_narrow else ()) if has_devices else ("device",)
        shown = [number for number, heading in enumerate(_COLUMNS) if heading not in hidden]
        for heading in (_COLUMNS[number] for number in shown):
            # On a narrow terminal names are folded, numbers are not.
            is_kept, is_word = heading != "node", heading in _COLUMNS[:2]
            table.add_column(heading, justify="left" if is_word else "right", no_wrap=is_kept, overflow="fold")
        if self._live and self._live.transient:
            # A low terminal cuts the end of the table: running rows come first, then the last to end.
            rows = [row for row in rows if not row.ending] + [row for row in reversed(rows) if row.ending]
        for row in rows:
            cells = row.cells()
            table.add_row(*(cells[number] for number in shown), style="dim" if row.ending else None)
        return table
