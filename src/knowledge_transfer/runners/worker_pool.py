"""What the scheduler asks of the processes that run its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from knowledge_transfer.runners.messages import TaskEvent, TaskSpec


class WorkerPool(Protocol):
    """Processes of one machine or of a cluster that run tasks; `devices` are the names of what they compute on."""

    devices: tuple[str, ...]

    def has_capacity(self, devices: int) -> bool:
        """Return whether a node that computes on so many devices (0: on none) can start now."""
        ...

    def submit(self, task: TaskSpec) -> tuple[str, ...]:
        """Give the task to a process; return its devices, none where an event names them. Raises as pickling does."""
        ...

    def next_events(self) -> Sequence[TaskEvent]:
        """Wait until something has happened, and return it."""
        ...

    def fetch(self, kept: Any) -> Any:
        """Return the data behind an output that came back, which may be elsewhere."""
        ...

    def stop(self) -> None:
        """End every process within seconds, whatever it is doing."""
        ...
