"""What a process for every node costs, and how close the walk comes to the best possible schedule.

`python -m benchmarks.runner_overhead`: seconds per node that does nothing, in this process and in one of its own; then
twelve students that only wait, on four pretended devices, against the least makespan that any schedule has.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from kedro.framework.hooks.manager import _create_hook_manager
from kedro.framework.project import configure_project
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import AbstractRunner, SequentialRunner

from knowledge_transfer.runners import DeviceRunner
from knowledge_transfer.runners.local.devices import processors

_NODES, _REPEATS, _WALKS = 6, 5, 2
# Seconds, as of three rosters of simple CNN, ResNet8, ResNet50 and SqueezeNet.
_LENGTHS = (40, 60, 150, 70, 45, 50, 130, 80, 35, 55, 120, 65)
_BEST = 225  # of these on four devices: their sum divided by four


def nothing() -> int:
    """Return something."""
    return 0


def wait(student: dict[str, Any], training: dict[str, Any]) -> int:
    """Return how many seconds it has waited: one for each epoch of the student's recipe."""
    seconds = int({**training["recipe"], **student["recipe"]}["epochs"])
    time.sleep(seconds)
    return seconds


def seconds_of(runner: AbstractRunner, pipeline: Pipeline, catalog: DataCatalog) -> float:
    """Return how long the pipeline takes."""
    began = time.perf_counter()
    runner.run(pipeline, catalog, _create_hook_manager())
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    configure_project("knowledge_transfer")
    idle = Pipeline(
        [node(nothing, None, f"out{number}", name=f"node{number}", tags=["gpu"]) for number in range(_NODES)]
    )
    alone, apart = [], []
    for _ in range(_REPEATS):
        alone.append(seconds_of(SequentialRunner(), idle, DataCatalog()) / _NODES)
        apart.append(seconds_of(DeviceRunner(places=processors(2)), idle, DataCatalog()) / _NODES)
    for what, times in (("in this process", alone), ("in a process of its own, two at a time", apart)):
        print(f"{what}: {statistics.median(times):.3f} s a node ({min(times):.3f} ... {max(times):.3f})")
    names = [f"student{number}" for number in range(len(_LENGTHS))]
    students = Pipeline(
        [
            node(wait, [f"params:{name}", "params:training"], f"{name}_checkpoint", name=name, tags=["training", "gpu"])
            for name in names
        ]
    )
    told: dict[str, Any] = {
        f"params:{name}": {"architecture": {"kind": "simple_cnn", "width": 1.0}, "recipe": {"epochs": length}}
        for name, length in zip(names, _LENGTHS, strict=True)
    }
    told["params:training"] = {"recipe": {"epochs": 1}}
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in told.items()})
    for _ in range(_WALKS):
        took = seconds_of(DeviceRunner(places=processors(4)), students, catalog)
        print(f"twelve students on four devices: {took:.1f} s, best possible {_BEST} s, ratio {took / _BEST:.3f}")


if __name__ == "__main__":
    main()
