"""Functions of the nodes in these tests: they report where they run, and wait for the test."""

import os
import select
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import torch
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from kedro.runner import AbstractRunner

from knowledge_transfer.learning.distributed.worker import RankKilledError
from knowledge_transfer.runners import DeviceRunner
from knowledge_transfer.runners.hook_specs import add_specs
from knowledge_transfer.runners.local.devices import Device, assigned_device


def logical_gpus(count: int) -> tuple[Device, ...]:
    """Devices that no machine need have: a process gets them as it would real ones."""
    return tuple(Device(f"cuda:{number}", str(number + 10)) for number in range(count))


def visible(*_: Any) -> str:
    return os.environ["CUDA_VISIBLE_DEVICES"]


def where_am_i() -> tuple[int, str, str | None]:
    return os.getpid(), visible(), assigned_device()


def threads() -> tuple[int, str]:
    return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]


def meet(door: Any, *_: Any) -> str:
    """Connect to the test: send which devices are visible, wait, do what it replies."""
    with Client(door) as test:
        test.send((os.getpid(), visible()))
        what = test.recv()
    if what == "raise":
        raise ValueError("it had to")
    return str(what)


def die_once(flag: str, signal_number: int) -> str:
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal_number)
    return "lived"


def meet_and_die_once(door: Any, flag: str, signal_number: int) -> str:
    meet(door)
    return die_once(flag, signal_number)


def lose_a_rank_once(flag: str) -> str:
    if not Path(flag).exists():
        Path(flag).touch()
        raise RankKilledError("rank 2 was killed")
    return "lived"


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_the_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def refuse() -> None:
    raise ValueError("not here")


class Unreadable:
    """A function that can be sent and not be read."""

    __name__ = "unreadable"

    def __call__(self) -> None: ...

    def __reduce__(self) -> Any:
        return refuse, ()


def double(value: int) -> int:
    return 2 * value


def gpu(function: Callable[..., Any], inputs: Any, output: str, name: str | None = None, *tags: str) -> Any:
    return node(function, inputs, output, name=name or output, tags=["gpu", *tags])


def run(pipeline: Pipeline, catalog: DataCatalog, runner: AbstractRunner | None = None, *hooks: Any) -> dict[str, Any]:
    """Return the free outputs of a run."""
    manager = _create_hook_manager()
    add_specs(manager)
    for hook in hooks:
        manager.register(hook)
    outputs = (runner or DeviceRunner(devices=logical_gpus(4))).run(pipeline, catalog, manager)
    return {name: dataset.load() for name, dataset in outputs.items()}


class Door:
    """Where nodes connect: `accept` waits for the next one, in a test that runs the pipeline in a thread."""

    def __init__(self) -> None:
        self.listener = Listener(("127.0.0.1", 0))
        self.address = self.listener.address
        self.socket = self.listener._listener._socket  # type: ignore[attr-defined]
        self.socket.settimeout(180)  # a node that never comes fails the test
        self.result: dict[str, Any] = {}
        self.error: BaseException | None = None

    def start(self, pipeline: Pipeline, catalog: DataCatalog, runner: AbstractRunner, *hooks: Any) -> threading.Thread:
        def go() -> None:
            try:
                self.result = run(pipeline, catalog, runner, *hooks)
            except BaseException as error:
                self.error = error

        thread = threading.Thread(target=go)
        thread.start()
        return thread

    def accept(self) -> tuple[Connection, int, str]:
        connection = self.listener.accept()
        pid, devices = connection.recv()
        return connection, pid, devices

    def is_anyone_waiting(self) -> bool:
        return bool(select.select([self.socket], [], [], 0)[0])
