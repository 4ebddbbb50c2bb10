"""The walk through a pipeline: which node starts next, what happens when one ends, raises or is killed."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner

from knowledge_transfer.errors import RunError, is_user_error
from knowledge_transfer.experiment.current import model_name
from knowledge_transfer.runners.messages import Order, order_of
from knowledge_transfer.runners.reports import Crew, Report, Started
from knowledge_transfer.runners.worker import Done, Failed, Killed, Saved

if TYPE_CHECKING:
    from pluggy import PluginManager

logger = logging.getLogger(__name__)
_TRIES = 2


class NodeError(RuntimeError):
    """A node failed in its process; the message has the traceback from there."""


@dataclass
class Walk:
    """One run of `pipeline`, from its first node to its last.

    `devices` says of a node on how many devices it computes, `priorities` which of those that could start goes first:
    the highest. A node that raises stops what has not started; what runs is finished and saved. One whose process is
    killed is tried once more.
    """

    pipeline: Pipeline
    catalog: CatalogProtocol
    crew: Crew
    hooks: PluginManager
    devices: Mapping[str, int]
    priorities: Mapping[str, float]
    run_id: str | None = None
    is_async: bool = False
    done: set[Node] = field(default_factory=set)
    running: dict[Node, tuple[str, ...]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    again: list[Order] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._needs = self.pipeline.node_dependencies
        self._waiting = set(self._needs)
        self._loads = Counter(chain.from_iterable(node.inputs for node in self.pipeline.nodes))
        self._made: dict[str, Any] = {}  # data that is nowhere but in memory, while anyone needs it
        self._is_user_error = True

    def go(self) -> None:
        """Run every node. Raises RunError, or NodeError where it takes a developer, naming what failed and where."""
        self.hooks.hook.on_run_placed(pipeline=self.pipeline, places=self.crew.places)
        while self._is_going():
            for report in self.crew.reports():
                self._take(report)
        if self.failures:
            text = "\n".join(self.failures)
            raise RunError(text) if self._is_user_error else NodeError(text)
        for name, data in self._made.items():
            self.catalog.save(name, self.crew.fetch(data))

    def _is_going(self) -> bool:
        """Start what can start; return whether there is anything to wait for."""
        self._start()
        if self.failures:
            self.crew.expect(len(self.again))
            return bool(self.running or self.again)
        self.crew.expect(self._left())
        # What waits although nothing runs waits for a process to leave its device.
        return bool(self.running or self.again or self._waiting)

    def _start(self) -> None:
        """Start what can start, the most urgent first."""
        while self.again and self.crew.has_room(self.again[0].devices):
            self._give(self.again.pop(0))
        if self.failures:
            return  # what was killed is still tried again, as what runs is finished
        ready = [node for node in self._waiting if self._needs[node] <= self.done]
        # By name where all else is equal, so that two runs of one pipeline go the same way.
        ready.sort(key=lambda node: (-self.priorities.get(node.name, 0.0), node.name))
        is_held = bool(self.again)
        for node in ready:
            devices = self.devices.get(node.name, 0)
            if devices and is_held:
                continue
            if not self.crew.has_room(devices):
                # Whatever fits would be let past: a node that needs several devices would wait for ever.
                is_held = is_held or bool(devices)
                continue
            self._waiting.remove(node)
            self._give_new(node, devices)
            if self.failures:  # it could not be sent
                return

    def _give_new(self, node: Node, devices: int) -> None:
        self.running[node] = ()
        try:
            order = order_of(
                node, self.catalog, self._made, devices=devices, run_id=self.run_id, is_async=self.is_async
            )
        except Exception as error:  # whatever a dataset raises that is read here, because it is only in memory
            self._fail(node, str(error), traceback.format_exc(), is_user_error=is_user_error(error))
        else:
            self._give(order)

    def _left(self) -> int:
        """Return how many nodes that compute on devices have not started, or are to start again."""
        waiting = sum(self.devices.get(node.name, 0) > 0 for node in self._waiting)
        return waiting + sum(order.devices > 0 for order in self.again)

    def _give(self, order: Order) -> None:
        self.running[order.node] = ()
        try:
            places = self.crew.start(order)
        except OSError as error:
            self._take(Report(order, Failed(f"cannot get a process of its own: {error}", "", is_user_error=True)))
        except Exception as error:  # what cannot be pickled raises whatever it likes
            message = f"cannot be sent to another process ({error}): its function must be one that can be imported"
            self._take(Report(order, Failed(message, "", is_user_error=True)))
        else:
            if places:
                self._take(Report(order, Started(places)))

    def _take(self, report: Report) -> None:
        order, node, what = report.order, report.order.node, report.what
        match what:
            case Started():
                self.running[node] = what.places
                self.hooks.hook.on_node_started(node=node, places=what.places, attempt=order.attempt)
            case Saved():
                self.hooks.hook.on_output_saved(node=node, dataset_name=what.dataset_name)
            case Done():
                self._finish(node, what)
            case Failed():
                self._fail(node, what.message, what.traceback, is_user_error=what.is_user_error)
            case Killed() if order.attempt < _TRIES:
                logger.warning("%s %s: it is tried once more", self._told(node), what.how)
                self._end(node, "killed", None)
                self.again.append(order.again())
            case Killed():
                self._fail(node, f"its process {what.how}, twice", "", is_user_error=True, status="killed")
            case _:
                self.hooks.hook.on_node_told(node=node, event=what)

    def _finish(self, node: Node, done: Done) -> None:
        self._made |= done.outputs
        self.done.add(node)
        self._end(node, "finished", None)
        AbstractRunner._release_datasets(node, self.catalog, self._loads, self.pipeline)
        for name in self._made.keys() - self.pipeline.outputs():
            if self._loads[name] < 1:
                del self._made[name]

    def _fail(self, node: Node, message: str, trace: str, *, is_user_error: bool, status: str = "failed") -> None:
        self.failures.append(f"{self._told(node)} failed: {message}" + ("" if is_user_error else f"\n{trace}"))
        self._is_user_error &= is_user_error
        self._end(node, status, message)
        if rest := self.running.keys() - {node}:
            names = ", ".join(sorted(each.name for each in rest))
            logger.warning("%s; what runs is finished first: %s", self.failures[-1].partition("\n")[0], names)

    def _end(self, node: Node, status: str, error: str | None) -> None:
        places = self.running.pop(node)
        self.hooks.hook.on_node_ended(node=node, places=places, status=status, error=error)

    def _told(self, node: Node) -> str:
        what = f"{node.name} ({model_name(node)})" if "training" in node.tags else node.name
        places = self.running.get(node)
        return f"{what} on {', '.join(places)}" if places else what
