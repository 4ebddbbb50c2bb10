"""Tasks of a Ray cluster; data in memory stays in its object store."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from knowledge_transfer.errors import RunError
from knowledge_transfer.runners.local.devices import CPU, DEVICE
from knowledge_transfer.runners.local.runner import DeviceSettings
from knowledge_transfer.runners.messages import Done, Failed, Killed, Started, TaskEvent, TaskSpec, WorkerSetup
from knowledge_transfer.runners.worker import execute, prepare

_POLL = 0.5  # seconds between reads of the reports


class RayPool:
    """Runs as many tasks at once as the cluster has devices, so that the scheduler keeps its priorities."""

    def __init__(self, settings: DeviceSettings) -> None:
        alive = [each for each in ray.nodes() if each["Alive"]]
        self.machines = len(alive)
        self._names = {each["NodeID"]: f"node{number}" for number, each in enumerate(alive, 1)}
        resources = ray.cluster_resources()
        gpus, processors = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        self._on_gpus = _computes_on_gpus(settings.devices, gpus)
        self._per_device = settings.per_device if self._on_gpus else 1
        count = gpus if self._on_gpus else max(1, min(processors, 4))
        # A node's devices and processors must be on one machine: Ray would wait for ever for more.
        self.most_devices = max((_amount(each, "GPU") for each in alive), default=0) if self._on_gpus else count
        fewest = min((_amount(each, "CPU") for each in alive if _amount(each, "CPU")), default=1)
        self._threads = max(1, min(processors // count, fewest))
        self.devices = self._all_devices(alive)
        self._free, self._is_cpu_free = float(count), True
        self._tasks: dict[Any, tuple[TaskSpec, list[Any]]] = {}  # with the outputs to come, by the task's outcome
        # On the driver's machine, so that the failure of another does not end it. Ray ends it with its last reference.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._mailbox = ray.remote(num_cpus=0, scheduling_strategy=here)(_Mailbox).remote()
        self._setup = WorkerSetup.current()

    def _all_devices(self, alive: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        """Return the name of each device; of each machine where nodes compute on processors."""
        return tuple(
            self._name(each["NodeID"], device)
            for each in alive
            for device in ([f"cuda:{number}" for number in range(_amount(each, "GPU"))] if self._on_gpus else [CPU])
        )

    def has_capacity(self, devices: int) -> bool:
        """Return whether so many devices of the cluster are free; for 0, whether no such node runs."""
        return self._free + 1e-9 >= self._share(devices) if devices else self._is_cpu_free

    def submit(self, task: TaskSpec) -> tuple[str, ...]:
        """Submit the task; an event names its devices once it runs. Raises as pickling does."""
        refs = {name: data for name, data in task.memory.items() if isinstance(data, ray.ObjectRef)}
        values = {name: data for name, data in task.memory.items() if name not in refs}
        data = pickle.dumps(replace(task, memory=values))
        # A task on a device has its own process: Ray would reuse it with devices that torch does not know. The
        # scheduler itself repeats and reports killed tasks.
        remote = ray.remote(max_calls=1 if task.devices else 0, max_retries=0, **self._resources(task.devices))
        results = (
            remote(_run_task)
            .options(num_returns=1 + len(task.returned))
            .remote(self._setup, data, self._mailbox, task.node.name, tuple(refs), *refs.values())
        )
        outcome, *outputs = results if task.returned else [results]
        self._tasks[outcome] = task, outputs
        self._occupy(task.devices)
        return ()

    def next_events(self) -> Sequence[TaskEvent]:
        """Return the events of tasks that have reported or ended."""
        ended, _ = ray.wait(list(self._tasks), timeout=_POLL) if self._tasks else ([], [])
        by_name = {task.node.name: task for task, _ in self._tasks.values()}
        found = [
            TaskEvent(by_name[name], self._started(what) if isinstance(what, _At) else what)
            for name, what in ray.get(self._mailbox.take.remote())
            if name in by_name
        ]
        for outcome in ended:
            task, outputs = self._tasks.pop(outcome)
            self._occupy(task.devices, -1)
            what = _received(outcome)
            if isinstance(what, Done):
                what = Done(dict(zip(task.returned, outputs, strict=True)))
            found.append(TaskEvent(task, what))
        return found

    def fetch(self, kept: Any) -> Any:
        """Return the data of an object of the store."""
        return ray.get(kept) if isinstance(kept, ray.ObjectRef) else kept

    def stop(self) -> None:
        """Cancel every task that still runs."""
        for outcome in self._tasks:
            ray.cancel(outcome, force=True)
        if self._tasks:
            ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=5)
        self._tasks.clear()
        ray.kill(self._mailbox)

    def _resources(self, devices: int) -> dict[str, float]:
        """Return the resources that a task on so many devices needs."""
        if devices and self._on_gpus:
            return {"num_cpus": 1, "num_gpus": self._share(devices)}
        return {"num_cpus": self._threads * devices or 1}

    def _occupy(self, devices: int, sign: int = 1) -> None:
        if devices:
            self._free -= sign * self._share(devices)
        else:
            self._is_cpu_free = sign < 0

    def _share(self, devices: int) -> float:
        return devices / self._per_device if devices == 1 else float(devices)

    def _started(self, at: _At) -> Started:
        return Started(tuple(self._name(at.machine, device) for device in at.devices))

    def _name(self, machine: str, device: str) -> str:
        return f"{self._names.get(machine, machine[:6])}/{device}" if self.machines > 1 else device


def _amount(machine: Mapping[str, Any], resource: str) -> int:
    return int(machine["Resources"].get(resource, 0))


def _computes_on_gpus(choice: str, gpus: int) -> bool:
    """Return whether nodes get some of the cluster's `gpus`. Raises RunError for an impossible choice."""
    if choice not in ("auto", "cuda", "cpu"):
        raise RunError(f"devices is '{choice}': on a cluster Ray assigns the devices, set devices to auto or cpu")
    if choice == "cuda" and not gpus:
        raise RunError("devices is 'cuda', the cluster has no GPU: set devices to auto")
    return gpus > 0 and choice != "cpu"


@dataclass(frozen=True)
class _At:
    """The machine of a task, by id, and its devices there."""

    machine: str
    devices: tuple[str, ...]


class _Mailbox:
    """An actor that keeps the reports of tasks until the driver takes them."""

    def __init__(self) -> None:
        self._reports: list[tuple[str, Any]] = []

    def put(self, node: str, what: bytes) -> None:
        """Add a report of a node."""
        self._reports.append((node, pickle.loads(what)))  # noqa: S301 - our own task sent it

    def take(self) -> list[tuple[str, Any]]:
        """Return and remove the reports."""
        reports, self._reports = self._reports, []
        return reports


def _run_task(setup: WorkerSetup, data: bytes, mailbox: Any, node: str, names: tuple[str, ...], *values: Any) -> Any:
    """Run a task; return its outcome and, separately, each output for the object store."""
    devices = tuple(f"cuda:{number}" for number in ray.get_gpu_ids())
    if not devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ[DEVICE] = ", ".join(devices) or CPU

    def report(what: object) -> None:
        ray.get(mailbox.put.remote(node, pickle.dumps(what)))

    report(_At(ray.get_runtime_context().get_node_id(), devices or (CPU,)))
    prepare(setup)
    task: TaskSpec = pickle.loads(data)  # noqa: S301 - our own driver sent it
    outcome = execute(replace(task, memory={**task.memory, **dict(zip(names, values, strict=True))}), report)
    if not task.returned:
        return outcome
    outputs = outcome.outputs if isinstance(outcome, Done) else dict.fromkeys(task.returned)
    return (Done({}) if isinstance(outcome, Done) else outcome, *(outputs[name] for name in task.returned))


def _received(outcome: Any) -> Done | Failed | Killed:
    try:
        return ray.get(outcome)
    except ray.exceptions.RayTaskError as error:
        return Failed(str(error.cause), str(error), is_user_error=False)
    except ray.exceptions.RayError as error:
        return Killed(f"was killed ({type(error).__name__})")
