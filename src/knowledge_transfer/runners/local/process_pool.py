"""The processes of one machine: a fresh one for every node that computes on a device, one CPU worker for all others."""

import logging
import multiprocessing
import os
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

from knowledge_transfer.learning.distributed import process
from knowledge_transfer.runners.local.devices import CPU, DEVICE, Allocator, Device
from knowledge_transfer.runners.messages import Done, Failed, Killed, TaskEvent, TaskSpec, WorkerSetup
from knowledge_transfer.runners.worker import execute, prepare

_THREADS = "OMP_NUM_THREADS"
_PATIENCE, _GRACE = 5.0, 3.0  # seconds for a process to end by itself, and after SIGTERM
# Imported once for all forks. Without MLflow, which starts a thread.
multiprocessing.set_forkserver_preload([__name__, "knowledge_transfer.settings"])


@dataclass(eq=False)
class _Worker:
    """A process, its devices, and the task that it runs."""

    process: BaseProcess
    connection: Connection
    devices: tuple[Device, ...]
    task: TaskSpec | None = None


class ProcessPool:
    """Processes, each of which sees only its own devices."""

    def __init__(self, allocator: Allocator) -> None:
        self._allocator = allocator
        self._workers: list[_Worker] = []
        self.devices = tuple(device.name for device in allocator.devices)

    def has_capacity(self, devices: int) -> bool:
        """Return whether so many devices are free; for 0, whether the CPU worker is."""
        if devices:
            return self._allocator.has_capacity(devices)
        worker = self._cpu_worker()
        return worker is None or worker.task is None

    def submit(self, task: TaskSpec) -> tuple[str, ...]:
        """Send the task to a new process, or to the CPU worker; return its devices. Raises as pickling does."""
        data = pickle.dumps(task)
        worker = None if task.devices else self._cpu_worker()
        worker = worker or self._spawn(task.devices)
        worker.task = task
        with suppress(OSError):  # `next_events` reports a dead process
            worker.connection.send_bytes(data)
        return tuple(device.name for device in worker.devices) or (CPU,)

    def next_events(self) -> Sequence[TaskEvent]:
        """Wait until a process reports or ends; return the events of its task, if it has one."""
        workers = {worker.connection: worker for worker in self._workers}
        found: list[TaskEvent] = []
        for connection in wait(list(workers)):
            worker = workers[connection]  # type: ignore[index]
            task, what = worker.task, self._receive(worker)
            if task:
                found.append(TaskEvent(task, what))
        return found

    def fetch(self, kept: Any) -> Any:
        """Return the output, which came through the pipe."""
        return kept

    def stop(self) -> None:
        """End every process within seconds, those with a task by a signal."""
        for worker in self._workers:
            worker.connection.close()
        process.stop([worker.process for worker in self._workers if worker.task], _GRACE)
        for worker in self._workers:
            worker.process.join(_PATIENCE)
        process.stop([worker.process for worker in self._workers], _GRACE)
        self._workers.clear()

    def _cpu_worker(self) -> _Worker | None:
        return next((worker for worker in self._workers if not worker.devices), None)

    def _spawn(self, count: int) -> _Worker:
        devices = self._allocator.take(count) if count else ()
        name = ", ".join(device.name for device in devices) or CPU
        # A node on several devices has the share of each.
        threads = max(1, (os.cpu_count() or 1) // self._allocator.capacity) * max(1, count)
        environment = {
            "CUDA_VISIBLE_DEVICES": ",".join(device.visible for device in devices),
            _THREADS: os.environ.get(_THREADS, str(threads)),
            DEVICE: name,
        }
        here, there = multiprocessing.Pipe()
        arguments = (serve, there, WorkerSetup.current(), bool(devices))
        try:
            # Closed here, so that the pipe ends with the process.
            with there:
                # No daemon: a node may train on several devices, in processes of its own.
                child = process.start(*arguments, name=name, daemon=False, environment=environment)
        except (OSError, EOFError):  # the latter where the server of processes has died
            self._allocator.give_back(devices)
            raise
        worker = _Worker(child, here, devices)
        self._workers.append(worker)
        return worker

    def _receive(self, worker: _Worker) -> Any:
        """Return the report of a process, or Killed or Failed if it has ended."""
        try:
            what = pickle.loads(worker.connection.recv_bytes())  # noqa: S301 - our own process sent it
        except (EOFError, OSError):
            return self._retire(worker)
        if isinstance(what, Done | Failed | Killed):
            # Its devices become free when it ends: it holds their memory.
            worker.task = None
        return what

    def _retire(self, worker: _Worker) -> Killed | Failed:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        self._allocator.give_back(worker.devices)
        code = worker.process.exitcode or 0
        how = process.how_it_ended(code)
        return Killed(how) if code < 0 else Failed(f"its process {how} without a reason")


def serve(connection: Connection, setup: WorkerSetup, once: bool) -> None:
    """Run the tasks that come through `connection`, one of them or until it is closed."""

    def report(what: object) -> None:
        # Not `send`: torch would put tensors into shared memory, which ends with this process.
        connection.send_bytes(pickle.dumps(what))

    prepare(setup)
    while True:
        try:
            data = connection.recv_bytes()
        except (EOFError, OSError):  # closed
            return
        try:
            task: TaskSpec = pickle.loads(data)  # noqa: S301 - our own driver sent it
        except Exception as error:  # unpickling may raise anything
            report(Failed(f"{type(error).__name__}: {error}", is_user_error=False))
        else:
            report(execute(task, report))
        if once:
            _leave()


def _leave() -> NoReturn:
    """End this process at once: a normal exit would hold its devices for seconds."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
