"""The driver sends tasks to the processes of nodes, they return events; a WorkerPool is the channel."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from kedro.framework import project
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline.node import Node

from knowledge_transfer.learning.hardware import numbers_in
from knowledge_transfer.learning.training.events import Event

# MLflow, hooks and shared storage read these from the environment.
_PASSED_ON = ("MLFLOW_", "KNOWLEDGE_TRANSFER_", "AWS_", "AZURE_", "GOOGLE_", "GCSFS_", "DO_NOT_TRACK", "FSSPEC_")


@dataclass(frozen=True)
class WorkerSetup:
    """The setup of a process, without which it cannot read a task."""

    package: str | None
    logging: Mapping[str, Any]
    environment: Mapping[str, str]

    @classmethod
    def current(cls) -> WorkerSetup:
        """Return the setup of this process."""
        environment = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        return cls(project.PACKAGE_NAME, dict(project.LOGGING.data), environment)


@dataclass(frozen=True)
class TaskSpec:
    """One node with everything that a process needs to run it, on so many `devices` (0: none).

    `stored` are the datasets, or their configuration, that the process reads or writes; `memory` the data that only the
    driver has; `returned` the outputs that go back there.
    """

    node: Node
    devices: int
    stored: Mapping[str, AbstractDataset | Mapping[str, Any]]
    memory: Mapping[str, Any]
    returned: tuple[str, ...]
    run_id: str | None = None
    is_async: bool = False
    attempt: int = 1

    def retry(self) -> TaskSpec:
        """Return the task for another attempt."""
        return replace(self, attempt=self.attempt + 1)


@dataclass(frozen=True)
class Started:
    """A node has its process, on these devices."""

    devices: tuple[str, ...]


@dataclass(frozen=True)
class Saved:
    """An output has been written."""

    dataset_name: str


@dataclass(frozen=True)
class Done:
    """The node has finished; `outputs` are those that the driver keeps."""

    outputs: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The node raised. `is_user_error`: the message is for the user, without a traceback."""

    message: str
    traceback: str = ""
    is_user_error: bool = True


@dataclass(frozen=True)
class Killed:
    """The process of the node, or one of its ranks, ended without a message."""

    how: str


@dataclass(frozen=True)
class TaskEvent:
    """An event of a task."""

    task: TaskSpec
    what: Started | Saved | Done | Failed | Killed | Event


class WorkerPool(Protocol):
    """Processes of one machine or of a cluster that run tasks on the `devices` with these names."""

    devices: tuple[str, ...]

    def has_capacity(self, devices: int) -> bool:
        """Return whether a node on so many devices (0: on none) can start now."""

    def submit(self, task: TaskSpec) -> tuple[str, ...]:
        """Send the task to a process; return its devices, () if an event names them later. Raises as pickling does."""

    def next_events(self) -> Sequence[TaskEvent]:
        """Return the next events; waits until there is one."""

    def fetch(self, kept: Any) -> Any:
        """Return the data of an output that a task returned."""

    def stop(self) -> None:
        """End every process within seconds."""


def task_of(
    node: Node,
    catalog: CatalogProtocol,
    made: Mapping[str, Any],
    *,
    devices: int,
    run_id: str | None = None,
    is_async: bool = False,
) -> TaskSpec:
    """Return the task of `node`; data in memory are those that earlier nodes `made`, else the catalog's."""
    datasets = {name: catalog.get(name) for name in (*node.inputs, *node.outputs)}
    kept = {name for name, dataset in datasets.items() if _is_in_memory(dataset)}
    memory = {name: made[name] if name in made else catalog.load(name) for name in node.inputs if name in kept}
    return TaskSpec(
        node,
        devices,
        stored={name: _sendable(dataset) for name, dataset in datasets.items() if name not in kept},
        memory={name: _for_worker(name, value) for name, value in memory.items()},
        returned=tuple(name for name in node.outputs if name in kept),
        run_id=run_id,
        is_async=is_async,
    )


def dataset_of(name: str, stored: AbstractDataset | Mapping[str, Any]) -> AbstractDataset:
    """Return a dataset of a task, built from its configuration where the task holds that."""
    return AbstractDataset.from_config(name, dict(stored)) if isinstance(stored, Mapping) else stored


def _sendable(dataset: AbstractDataset) -> AbstractDataset | Mapping[str, Any]:
    """Return the dataset, or its configuration where it holds a connection, as those of S3 do."""
    try:
        pickle.dumps(dataset)
    except Exception:  # whatever a class raises that cannot be pickled
        config: Mapping[str, Any] = dataset.to_config()
        return config
    return dataset


def _is_in_memory(dataset: AbstractDataset) -> bool:
    return bool(getattr(dataset, "_EPHEMERAL", False) or getattr(dataset, "_SINGLE_PROCESS", False))


def _for_worker(name: str, value: Any) -> Any:
    """Return a parameter for the process of a node, which sees only its own devices."""
    is_choice = name.startswith("params:") and name.endswith("devices") and isinstance(value, str)
    return "auto" if is_choice and (numbers_in(value) or value.startswith("cuda")) else value
