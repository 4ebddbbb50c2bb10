"""Orders: a node with everything that a process needs to run it which has seen nothing else of the run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kedro.framework import project
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.pipeline.node import Node

from knowledge_transfer.learning.hardware import numbers_in

# What MLflow, our own hooks and shared storage are told by the environment, on other machines too.
_PASSED_ON = (
    "MLFLOW_",
    "KNOWLEDGE_TRANSFER_",
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "GCSFS_",
    "DO_NOT_TRACK",
    "FSSPEC_",
)


@dataclass(frozen=True)
class Setting:
    """What a process must set up before it can read its first order."""

    package: str | None
    logging: Mapping[str, Any]
    environment: Mapping[str, str]

    @classmethod
    def present(cls) -> Setting:
        """Return the setting of this process."""
        environment = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        return cls(project.PACKAGE_NAME, dict(project.LOGGING.data), environment)


@dataclass(frozen=True)
class Order:
    """One node to be run.

    `stored` are the catalog's datasets that it reads or writes itself, or how they are configured; `memory` the data of
    those that are only in the driver's memory, `returned` the outputs that go back there. `devices` is on how many of
    the devices it computes: 0 for a node that needs none.
    """

    node: Node
    devices: int
    stored: Mapping[str, AbstractDataset | Mapping[str, Any]]
    memory: Mapping[str, Any]
    returned: tuple[str, ...]
    run_id: str | None = None
    is_async: bool = False
    attempt: int = field(default=1)

    def again(self) -> Order:
        """Return the order for another attempt."""
        return replace(self, attempt=self.attempt + 1)


def order_of(
    node: Node,
    catalog: CatalogProtocol,
    made: Mapping[str, Any],
    *,
    devices: int,
    run_id: str | None = None,
    is_async: bool = False,
) -> Order:
    """Return the order for `node`; data that is only in memory is what earlier nodes `made`, else the catalog's."""
    datasets = {name: catalog.get(name) for name in (*node.inputs, *node.outputs)}
    kept = {name for name, dataset in datasets.items() if is_in_memory(dataset)}
    memory = {name: made[name] if name in made else catalog.load(name) for name in node.inputs if name in kept}
    return Order(
        node,
        devices,
        stored={name: _sendable(dataset) for name, dataset in datasets.items() if name not in kept},
        memory={name: _seen_there(name, value) for name, value in memory.items()},
        returned=tuple(name for name in node.outputs if name in kept),
        run_id=run_id,
        is_async=is_async,
    )


def _sendable(dataset: AbstractDataset) -> AbstractDataset | Mapping[str, Any]:
    """Return the dataset, or its configuration where it holds a connection, as those of S3 do."""
    try:
        pickle.dumps(dataset)
    except Exception:  # whatever a class raises that cannot be pickled
        config: Mapping[str, Any] = dataset.to_config()
        return config
    return dataset


def built(name: str, stored: AbstractDataset | Mapping[str, Any]) -> AbstractDataset:
    """Return the dataset of an order."""
    return AbstractDataset.from_config(name, dict(stored)) if isinstance(stored, Mapping) else stored


def is_in_memory(dataset: AbstractDataset) -> bool:
    """Return whether the dataset's data is nowhere but in the driver."""
    return bool(getattr(dataset, "_EPHEMERAL", False) or getattr(dataset, "_SINGLE_PROCESS", False))


def _seen_there(name: str, value: Any) -> Any:
    """Return a parameter as it holds in the process of a node, which sees the devices it was given and no others."""
    is_choice = name.startswith("params:") and name.endswith("devices") and isinstance(value, str)
    return "auto" if is_choice and (numbers_in(value) or value.startswith("cuda")) else value
