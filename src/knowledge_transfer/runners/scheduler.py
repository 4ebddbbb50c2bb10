"""Decides which node starts next, and handles nodes that end, raise or are killed."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner

from knowledge_transfer.errors import RunError, is_user_error
from knowledge_transfer.experiment.current import model_name
from knowledge_transfer.runners import messages
from knowledge_transfer.runners.costs import devices_of, expected_costs, priorities
from knowledge_transfer.runners.hook_specs import add_specs
from knowledge_transfer.runners.messages import Done, Failed, Killed, TaskEvent, TaskSpec, WorkerPool

if TYPE_CHECKING:
    from pluggy import PluginManager

logger = logging.getLogger(__name__)
_ATTEMPTS = 2


class NodeError(RuntimeError):
    """A node failed in its process; the message has that traceback."""


def run_nodes(
    runner: AbstractRunner,
    pool: WorkerPool,
    pipeline: Pipeline,
    catalog: CatalogProtocol,
    hooks: PluginManager,
    run_id: str | None,
) -> None:
    """Run `pipeline` in `pool`, then stop the pool; after a failure, suggest how to resume."""
    try:
        add_specs(hooks)
        scheduler = Scheduler(
            pipeline,
            catalog,
            pool,
            hooks,
            devices=devices_of(pipeline, catalog),
            priorities=priorities(pipeline, expected_costs(pipeline, catalog)),
            run_id=run_id,
            is_async=runner._is_async,
        )
        try:
            scheduler.run()
        except Exception:
            runner._suggest_resume_scenario(pipeline, scheduler.done, catalog)
            raise
    finally:
        pool.stop()


@dataclass
class Scheduler:
    """One run of `pipeline`; a ready node with the highest of `priorities` starts first, on its number of `devices`.

    After an error no node starts, running ones finish. A node whose process is killed has a second attempt.
    """

    pipeline: Pipeline
    catalog: CatalogProtocol
    pool: WorkerPool
    hooks: PluginManager
    devices: Mapping[str, int]
    priorities: Mapping[str, float]
    run_id: str | None = None
    is_async: bool = False
    done: set[Node] = field(default_factory=set)
    running: dict[Node, tuple[str, ...]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    retries: list[TaskSpec] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._needs = self.pipeline.node_dependencies
        self._waiting = set(self._needs)
        self._loads = Counter(name for node in self.pipeline.nodes for name in node.inputs)
        self._made: dict[str, Any] = {}  # data in memory that a node still needs
        self._is_user_error = True

    def run(self) -> None:
        """Run every node. Raises RunError for user errors, else NodeError; both name the nodes."""
        self.hooks.hook.on_run_started(pipeline=self.pipeline, devices=self.pool.devices)
        while self._has_work():
            for event in self.pool.next_events():
                self._handle(event)
        if self.failures:
            raise (RunError if self._is_user_error else NodeError)("\n".join(self.failures))
        for name, data in self._made.items():
            self.catalog.save(name, self.pool.fetch(data))

    def _has_work(self) -> bool:
        """Start ready nodes; return whether the run has to wait for events."""
        while self.retries and self.pool.has_capacity(self.retries[0].devices):
            self._submit(self.retries.pop(0))
        self._start_ready()
        # Nodes may wait although none runs: a process has not yet left its device.
        return bool(self.running or self.retries or (self._waiting and not self.failures))

    def _start_ready(self) -> None:
        """Start the ready nodes, highest priority first; none after a failure."""
        ready = [node for node in self._waiting if self._needs[node] <= self.done]
        # By name among equals, so that two runs of one pipeline have one order.
        ready.sort(key=lambda node: (-self.priorities.get(node.name, 0.0), node.name))
        is_held = bool(self.retries)
        for node in ready:
            if self.failures:
                return
            devices = self.devices.get(node.name, 0)
            if devices and is_held:
                continue
            if self.pool.has_capacity(devices):
                self._start(node, devices)
            else:
                # Otherwise smaller nodes could overtake a node on several devices for ever.
                is_held = is_held or bool(devices)

    def _start(self, node: Node, devices: int) -> None:
        self._waiting.remove(node)
        self.running[node] = ()
        try:
            task = messages.task_of(
                node, self.catalog, self._made, devices=devices, run_id=self.run_id, is_async=self.is_async
            )
        except Exception as error:  # any dataset in memory may raise on load
            self._fail(node, Failed(str(error), traceback.format_exc(), is_user_error(error)))
        else:
            self._submit(task)

    def _submit(self, task: TaskSpec) -> None:
        self.running[task.node] = ()
        try:
            devices = self.pool.submit(task)
        except OSError as error:
            self._fail(task.node, Failed(f"cannot get a process of its own: {error}"))
        except Exception as error:  # pickling may raise anything
            message = f"cannot be sent to another process ({error}): its function must be one that can be imported"
            self._fail(task.node, Failed(message))
        else:
            if devices:
                self._handle(TaskEvent(task, messages.Started(devices)))

    def _handle(self, event: TaskEvent) -> None:
        task, node, hook = event.task, event.task.node, self.hooks.hook
        match event.what:
            case messages.Started(devices):
                self.running[node] = devices
                hook.on_node_started(node=node, devices=devices, attempt=task.attempt)
            case messages.Saved(name):
                hook.on_output_saved(node=node, dataset_name=name)
            case Done(outputs):
                self._finish(node, outputs)
            case Failed() as failed:
                self._fail(node, failed)
            case Killed(how) if task.attempt < _ATTEMPTS:
                logger.warning("%s %s: it starts once more", self._described(node), how)
                self._end(node, "killed")
                self.retries.append(task.retry())
            case Killed(how):
                self._fail(node, Failed(f"its process {how}, twice"), status="killed")
            case fit_event:
                hook.on_node_event(node=node, event=fit_event)

    def _finish(self, node: Node, outputs: Mapping[str, Any]) -> None:
        self._made |= outputs
        self.done.add(node)
        self._end(node, "finished")
        AbstractRunner._release_datasets(node, self.catalog, self._loads, self.pipeline)
        for name in self._made.keys() - self.pipeline.outputs():
            if self._loads[name] < 1:
                del self._made[name]

    def _fail(self, node: Node, failed: Failed, status: str = "failed") -> None:
        line = f"{self._described(node)} failed: {failed.message}"
        self.failures.append(line if failed.is_user_error else f"{line}\n{failed.traceback}")
        self._is_user_error &= failed.is_user_error
        self._end(node, status, failed.message)
        if self.running:
            names = ", ".join(sorted(each.name for each in self.running))
            logger.warning("%s; running nodes finish first: %s", line.partition("\n")[0], names)

    def _end(self, node: Node, status: str, error: str | None = None) -> None:
        devices = self.running.pop(node)
        self.hooks.hook.on_node_ended(node=node, devices=devices, status=status, error=error)

    def _described(self, node: Node) -> str:
        model = f"{node.name} ({model_name(node)})" if "training" in node.tags else node.name
        devices = self.running.get(node)
        return f"{model} on {', '.join(devices)}" if devices else model
