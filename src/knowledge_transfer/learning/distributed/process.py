"""Child processes that end with their parent, start in a tenth of a second, and leave Ctrl-C to the parent."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any

# Elsewhere the system's own libraries do not survive a fork.
METHOD = "forkserver" if sys.platform == "linux" else "spawn"
# The server imports torch once. It must neither use a device nor start a thread: a fork does not copy either.
_SERVER_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
multiprocessing.set_forkserver_preload(["knowledge_transfer.learning.distributed.worker"])


def start(
    function: Callable[..., None],
    *arguments: Any,
    name: str,
    daemon: bool = True,
    environment: Mapping[str, str] | None = None,
) -> BaseProcess:
    """Start and return a process that runs `function`, found by its name, and ends with this one at the latest.

    Its environment is that of this process now, changed by `environment`; torch takes its number of threads from
    OMP_NUM_THREADS. A `daemon` may have no children itself, and does not keep this process from ending. `arguments` are
    pipes and plain values: tensors would go into shared memory.
    """
    # The function as bytes, so that what it needs is imported when the child is already safe to interrupt.
    arguments = (pickle.dumps(function), arguments, {**os.environ, **(environment or {})})
    has_server = METHOD == "forkserver" and _start_server()
    context: Any = multiprocessing.get_context("forkserver" if has_server else "spawn")
    child: BaseProcess = context.Process(target=_enter, args=arguments, name=name, daemon=daemon)
    # From the server, whose start can take seconds, a child inherits that Ctrl-C is blocked.
    with nullcontext() if has_server else _interrupts_blocked():
        child.start()
    return child


def _start_server() -> bool:
    """Start the server, unless it runs; return whether it could be started: its socket's path may be too long."""
    with (
        suppress(OSError),
        _interrupts_blocked(),
        changed_environment(**_SERVER_ENVIRONMENT, PYTHONPATH=os.pathsep.join(sys.path)),
    ):
        forkserver.ensure_running()
        return True
    return False


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C, also in processes that start meanwhile: it would show the traceback of their imports."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def changed_environment(**values: str) -> Iterator[None]:
    """Set environment variables within the context."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value


def _exit_with_parent() -> None:
    """End this process as soon as its parent is gone, even by SIGKILL."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="exit with parent", daemon=True).start()


def stop(processes: Sequence[BaseProcess], grace: float) -> None:
    """Return once all processes have ended, by SIGTERM or, `grace` seconds later, by SIGKILL, if not by themselves."""
    for process in processes:
        # Another process may have the number of one that has ended.
        if process.is_alive():
            process.terminate()
    deadline = time.monotonic() + grace
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    for process in processes:
        process.kill()
        process.join()


def how_it_ended(exitcode: int | None) -> str:
    """Return the words for an exit code that follow the name of a process: `was killed by SIGKILL`."""
    if exitcode is None:
        return "has not ended"
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    try:
        return f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"was killed by signal {-exitcode}"


def _enter(function: bytes, arguments: tuple[Any, ...], environment: Mapping[str, str]) -> None:
    # A terminal sends Ctrl-C to every process of a group: the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _exit_with_parent()
    # Before CUDA reads its variables, once.
    os.environ.clear()
    os.environ.update(environment)
    if threads := environment.get("OMP_NUM_THREADS"):
        import torch  # here: a process that starts others may not need it

        # The server read the variable when it started; OpenMP takes a list of numbers, too.
        torch.set_num_threads(int(threads.split(",")[0]))
    pickle.loads(function)(*arguments)  # noqa: S301 - the parent's own bytes
