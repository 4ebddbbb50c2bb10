"""A crew of one machine: a fresh process for every node that computes on a device, one clerk for all other nodes."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from knowledge_transfer.learning.processes import exit_with_parent, how_it_ended, ignore_interrupts, stop
from knowledge_transfer.runners.orders import Order, Setting
from knowledge_transfer.runners.places import CPU, Place
from knowledge_transfer.runners.reports import Report
from knowledge_transfer.runners.slots import Slots
from knowledge_transfer.runners.worker import PLACE, Done, Failed, Killed, execute, prepare

_THREADS = "OMP_NUM_THREADS"
_PATIENCE, _GRACE = 5.0, 3.0  # seconds that a process may take to end by itself, and when it is told to
_SPAWN = get_context("spawn")


@dataclass(eq=False)
class _Worker:
    """A process, what it has, and what it is working on."""

    process: BaseProcess
    connection: Connection
    places: tuple[Place, ...]
    order: Order | None = None


class ProcessCrew:
    """Processes that each see the devices they were given, and no others."""

    def __init__(self, slots: Slots, threads: int) -> None:
        self._slots, self._threads = slots, threads
        self._workers: list[_Worker] = []
        self.places = tuple(place.name for place in slots.places)

    def has_room(self, devices: int) -> bool:
        """Return whether so many devices are free; for 0, whether the clerk is."""
        if devices:
            return self._slots.has_room(devices)
        clerk = self._clerk()
        return clerk is None or clerk.order is None

    def start(self, order: Order) -> tuple[str, ...]:
        """Give the order to a new process on free devices, or to the clerk; return the names of its places.

        Raises whatever pickling raises when the order cannot be sent.
        """
        data = pickle.dumps(order)
        clerk = None if order.devices else self._clerk()
        worker = clerk or self._hire(self._slots.take(order.devices) if order.devices else ())
        worker.order = order
        with suppress(OSError):  # a process that is gone already is told by `reports`
            worker.connection.send_bytes(data)
        return tuple(place.name for place in worker.places) or (CPU,)

    def reports(self) -> Sequence[Report]:
        """Wait until a process has said something or is gone; return what that means for its node, if anything."""
        listening = {worker.connection: worker for worker in self._workers if worker.order or worker.places}
        found: list[Report] = []
        for connection in wait(list(listening)):
            worker = listening[connection]  # type: ignore[index]
            order, what = worker.order, self._hear(worker)
            if order and what is not None:
                found.append(Report(order, what))
        return found

    def fetch(self, kept: Any) -> Any:
        """Return what it is given: outputs come back through the pipe."""
        return kept

    def stop(self) -> None:
        """End every process within seconds: those that work are told to, the others have nothing left to do."""
        for worker in self._workers:
            worker.connection.close()
        stop([worker.process for worker in self._workers if worker.order], _GRACE)
        for worker in self._workers:
            worker.process.join(_PATIENCE)
        stop([worker.process for worker in self._workers], _GRACE)
        self._workers.clear()

    def _clerk(self) -> _Worker | None:
        return next((worker for worker in self._workers if not worker.places), None)

    def _hire(self, places: tuple[Place, ...]) -> _Worker:
        here, there = _SPAWN.Pipe()
        name = ", ".join(place.name for place in places) or CPU
        visible = ",".join(place.visible for place in places)
        # One thread each where many share the processor: two of torch's pools on one core slow each other down tenfold.
        threads = os.environ.get(_THREADS, str(self._threads * max(1, len(places))))
        process = _SPAWN.Process(target=serve, args=(there, Setting.present(), bool(places)), name=name)
        with _environment({"CUDA_VISIBLE_DEVICES": visible, _THREADS: threads, PLACE: name}):
            process.start()
        there.close()  # so that the pipe ends with the process
        worker = _Worker(process, here, places)
        self._workers.append(worker)
        return worker

    def _hear(self, worker: _Worker) -> Any:
        """Return what a process has said, or what its end means for the node that it was working on."""
        try:
            said = pickle.loads(worker.connection.recv_bytes())  # noqa: S301 - our own process said it
        except (EOFError, OSError):
            return self._dismiss(worker)
        if isinstance(said, Done | Failed | Killed):
            # Its devices are free once it is gone: until then it holds memory of theirs.
            worker.order = None
        return said

    def _dismiss(self, worker: _Worker) -> Killed | Failed:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        if worker.places:
            self._slots.give_back(worker.places)
        code = worker.process.exitcode or 0
        how = how_it_ended(code)
        return Killed(how) if code < 0 else Failed(f"its process {how} and has not said why", "", is_refusal=True)


def serve(connection: Connection, setting: Setting, once: bool) -> None:
    """Run the orders that come through `connection`, one of them or until it is closed."""
    ignore_interrupts()
    exit_with_parent()

    def tell(what: object) -> None:
        # Not `send`, by which torch would leave tensors behind in shared memory that ends with this process.
        connection.send_bytes(pickle.dumps(what))

    prepare(setting)
    while True:
        try:
            order = pickle.loads(connection.recv_bytes())  # noqa: S301 - our own driver sent it
        except EOFError:
            return
        except Exception as error:  # whatever a class raises that cannot be built here
            tell(Failed(f"{type(error).__name__}: {error}", "", is_refusal=False))
        else:
            tell(execute(order, tell))
        if once:
            return


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
