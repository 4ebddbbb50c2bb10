"""What a crew, the processes of one machine or of a cluster, reports to the walk through a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from knowledge_transfer.learning.training.events import Event
from knowledge_transfer.runners.messages import Order
from knowledge_transfer.runners.worker import Done, Failed, Killed


@dataclass(frozen=True)
class Started:
    """A node has its process, on these places; from a crew that did not know them when it took the order."""

    places: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Something that happened to the node of an order: one of the classes here or in `worker`, or an event of a fit."""

    order: Order
    what: Started | Killed | Done | Failed | Event | Any


class Crew(Protocol):
    """Processes that take orders."""

    places: tuple[str, ...]

    def has_room(self, devices: int) -> bool:
        """Return whether a node that computes on so many devices (0: on none) can start now."""
        ...

    def start(self, order: Order) -> tuple[str, ...]:
        """Give the order to a process; return its places, none where they are told later. Raises as sending does."""
        ...

    def expect(self, nodes: int) -> None:
        """Hear how many nodes that compute on devices are left to start: who likes prepares for them."""
        ...

    def reports(self) -> Sequence[Report]:
        """Wait until something has happened, and return it."""
        ...

    def fetch(self, kept: Any) -> Any:
        """Return the data behind an output that came back, which may be elsewhere."""
        ...

    def stop(self) -> None:
        """End every process within seconds, whatever it is doing."""
        ...
