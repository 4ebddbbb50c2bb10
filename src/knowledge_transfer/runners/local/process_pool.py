"""A crew of one machine: a fresh process for every node that computes on a device, one clerk for all other nodes.

A process takes seconds to import what it needs. So while nodes on devices are left to start there is a spare one: it
has all that done, belongs to no device yet, and is told with its order which one is its own.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NoReturn

from knowledge_transfer.learning.distributed.process import how_it_ended, start, stop
from knowledge_transfer.runners.local.devices import CPU, Place
from knowledge_transfer.runners.local.slots import Slots
from knowledge_transfer.runners.messages import Order, Setting
from knowledge_transfer.runners.reports import Report
from knowledge_transfer.runners.worker import PLACE, Done, Failed, Killed, execute, prepare

_THREADS = "OMP_NUM_THREADS"
_PATIENCE, _GRACE = 5.0, 3.0  # seconds that a process may take to end by itself, and when it is told to
_VISIBLE = "CUDA_VISIBLE_DEVICES"
# By which torch asks whether there is a GPU without starting CUDA, which would settle for good which ones there are.
_BY_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"


@dataclass(eq=False)
class _Worker:
    """A process, what it has, and what it is working on."""

    process: BaseProcess
    connection: Connection
    places: tuple[Place, ...] = ()
    order: Order | None = None
    is_ready: bool = False


class _Ready:
    """A process can take an order at once."""


class ProcessCrew:
    """Processes that each see the devices they were given, and no others."""

    def __init__(self, slots: Slots, threads: int) -> None:
        self._slots, self._threads = slots, threads
        self._workers: list[_Worker] = []
        self._spare: _Worker | None = None
        self._wants_spare = True
        self.places = tuple(place.name for place in slots.places)

    def has_room(self, devices: int) -> bool:
        """Return whether so many devices are free; for 0, whether the clerk is."""
        if devices:
            return self._slots.has_room(devices)
        clerk = self._clerk()
        return clerk is None or clerk.order is None

    def start(self, order: Order) -> tuple[str, ...]:
        """Give the order to the spare or a new process on free devices, or to the clerk; return its places' names.

        Raises whatever pickling raises when the order cannot be sent.
        """
        data = pickle.dumps(order)
        if order.devices:
            worker = self._take_spare() or self._hire(once=True)
            worker.places = self._slots.take(order.devices)
        else:
            worker = self._clerk() or self._hire(once=False)
        worker.order = order
        names = tuple(place.name for place in worker.places) or (CPU,)
        worker.process.name = ", ".join(names)
        visible = ",".join(place.visible for place in worker.places)
        # A node on several devices has the share of each.
        threads = os.environ.get(_THREADS, str(self._threads * len(names)))
        own = {_VISIBLE: visible, _THREADS: threads, PLACE: worker.process.name}
        environment = {**Setting.present().environment, **own}
        with suppress(OSError):  # a process that is gone already is told by `reports`
            worker.connection.send_bytes(pickle.dumps(environment))
            worker.connection.send_bytes(data)
        return names

    def expect(self, nodes: int) -> None:
        """Keep a spare process while so many nodes on devices are left to start, none when there are none."""
        if not nodes and self._spare:
            stop([self._spare.process], _GRACE)
            self._dismiss(self._spare)
        # Not while others still import: they are needed first, and the processor is what importing takes.
        elif nodes and self._wants_spare and not self._spare and all(worker.is_ready for worker in self._workers):
            self._spare = self._hire(once=True)

    def reports(self) -> Sequence[Report]:
        """Wait until a process has said something or is gone; return what that means for its node, if anything."""
        listening = {worker.connection: worker for worker in self._workers}
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
        """End every process within seconds: those that work or import are told to, the others have nothing to do."""
        for worker in self._workers:
            worker.connection.close()
        stop([worker.process for worker in self._workers if worker.order or worker is self._spare], _GRACE)
        for worker in self._workers:
            worker.process.join(_PATIENCE)
        stop([worker.process for worker in self._workers], _GRACE)
        self._workers.clear()
        self._spare = None

    def _clerk(self) -> _Worker | None:
        return next((worker for worker in self._workers if not worker.places and worker is not self._spare), None)

    def _take_spare(self) -> _Worker | None:
        if self._spare and not self._spare.process.is_alive():
            self._dismiss(self._spare)
        spare, self._spare, self._wants_spare = self._spare, None, True
        return spare

    def _hire(self, *, once: bool) -> _Worker:
        here, there = Pipe()
        # One thread each where many share the processor: two of torch's pools on one core slow each other down tenfold.
        threads = os.environ.get(_THREADS, str(self._threads))
        # Open there alone, so that the pipe ends with the process.
        with there, _environment({_VISIBLE: "", _THREADS: threads, _BY_NVML: "1"}):
            # No daemon: a node may train on several devices, in processes of its own.
            process = start(serve, there, Setting.present(), once, name="spare", daemon=False)
        worker = _Worker(process, here)
        self._workers.append(worker)
        return worker

    def _hear(self, worker: _Worker) -> Any:
        """Return what a process has said, or what its end means for the node that it was working on."""
        try:
            said = pickle.loads(worker.connection.recv_bytes())  # noqa: S301 - our own process said it
        except (EOFError, OSError):
            # What has ended a spare may well end another: the next is started after one node more.
            self._wants_spare = worker is not self._spare
            return self._dismiss(worker)
        if isinstance(said, _Ready):
            worker.is_ready = True
            return None
        if isinstance(said, Done | Failed | Killed):
            # Its devices are free once it is gone: until then it holds memory of theirs.
            worker.order = None
        return said

    def _dismiss(self, worker: _Worker) -> Killed | Failed:
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        if worker is self._spare:
            self._spare = None
        if worker.places:
            self._slots.give_back(worker.places)
        code = worker.process.exitcode or 0
        how = how_it_ended(code)
        return Killed(how) if code < 0 else Failed(f"its process {how} and has not said why", "", is_user_error=True)


def serve(connection: Connection, setting: Setting, once: bool) -> None:
    """Run the orders that come through `connection`, one of them or until it is closed."""

    def tell(what: object) -> None:
        # Not `send`, by which torch would leave tensors behind in shared memory that ends with this process.
        connection.send_bytes(pickle.dumps(what))

    prepare(setting)
    tell(_Ready())
    while True:
        try:
            environment, data = connection.recv_bytes(), connection.recv_bytes()
        except (EOFError, OSError):  # closed, or gone with something left to read
            return
        try:
            _move(pickle.loads(environment))  # noqa: S301 - our own driver sent it
            order = pickle.loads(data)  # noqa: S301
        except Exception as error:  # whatever a class raises that cannot be built here
            tell(Failed(f"{type(error).__name__}: {error}", "", is_user_error=False))
        else:
            tell(execute(order, tell))
        if once:
            _leave()


def _leave() -> NoReturn:
    """End this process now: to take down all that is imported would keep its devices for seconds."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _move(environment: Mapping[str, str]) -> None:
    """Go to the devices that `environment` names. Raises RuntimeError where this process has used some already."""
    import torch

    # CUDA reads the variable once, when it is first asked for a device.
    if torch.cuda.is_initialized():
        raise RuntimeError(f"CUDA is in use before {_VISIBLE} is set: nothing may ask for a device while it imports")
    os.environ.update(environment)
    torch.set_num_threads(int(environment[_THREADS]))


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
