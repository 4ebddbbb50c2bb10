"""What a process for every node costs, and how close the scheduler comes to the best schedule.

`python -m benchmarks.scaling.runner_overhead`: seconds per node that does nothing, in this process and in one of its
own; then twelve students that only wait, on four pretended devices, against the least makespan of all schedules.
"""

from __future__ import annotations

import time
from typing import Any

from kedro.framework.hooks.manager import _create_hook_manager
from kedro.framework.project import configure_project
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import AbstractRunner, SequentialRunner

from benchmarks.common.text import spread
from knowledge_transfer.runners import DeviceRunner
from knowledge_transfer.runners.local.devices import processors

_NODES, _REPEATS, _SCHEDULES = 6, 5, 2
# Seconds, as of three rosters of simple CNN, ResNet8, ResNet50 and SqueezeNet.
_LENGTHS = (40, 60, 150, 70, 45, 50, 130, 80, 35, 55, 120, 65)
_BEST = 225  # of these on four devices: their sum divided by four


def nothing() -> int:
    """Return a number at once."""
    return 0


def wait(student: dict[str, Any], training: dict[str, Any]) -> int:
    """Wait one second for each epoch of the student's recipe; return their number."""
    seconds = int({**training["recipe"], **student["recipe"]}["epochs"])
    time.sleep(seconds)
    return seconds


def seconds_of(runner: AbstractRunner, nodes: list[Any], catalog: DataCatalog) -> float:
    """Return how long a pipeline of these nodes takes."""
    began = time.perf_counter()
    runner.run(Pipeline(nodes), catalog, _create_hook_manager())
    return time.perf_counter() - began


if __name__ == "__main__":
    configure_project("knowledge_transfer")
    idle = [node(nothing, None, f"out{number}", name=f"node{number}", tags=["gpu"]) for number in range(_NODES)]
    alone, apart = [], []
    for _ in range(_REPEATS):
        alone.append(seconds_of(SequentialRunner(), idle, DataCatalog()) / _NODES)
        apart.append(seconds_of(DeviceRunner(devices=processors(2)), idle, DataCatalog()) / _NODES)
    print(f"in this process: {spread(alone, 3)} s a node")
    print(f"in a process of its own, two at a time: {spread(apart, 3)} s a node")
    students, given = [], {"params:training": MemoryDataset({"recipe": {"epochs": 1}})}
    for number, length in enumerate(_LENGTHS):
        name = f"student{number}"
        inputs = [f"params:{name}", "params:training"]
        students.append(node(wait, inputs, f"{name}_checkpoint", name=name, tags=["training", "gpu"]))
        architecture = {"kind": "simple_cnn", "width": 1.0}
        given[f"params:{name}"] = MemoryDataset({"architecture": architecture, "recipe": {"epochs": length}})
    for _ in range(_SCHEDULES):
        took = seconds_of(DeviceRunner(devices=processors(4)), students, DataCatalog(given))
        print(f"twelve students on four devices: {took:.1f} s, best possible {_BEST} s, ratio {took / _BEST:.3f}")
