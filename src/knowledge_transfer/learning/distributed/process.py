"""Child processes that outlive nobody: each ends with its parent, and Ctrl-C is the parent's to act on."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from typing import Any


def start(function: Callable[..., None], *arguments: Any, name: str, daemon: bool = True) -> BaseProcess:
    """Return a fresh process, started, that runs `function`, found by its name, and ends with this one at the latest.

    A `daemon` may have no children itself, and does not keep this process from ending. `arguments` pass through
    multiprocessing's own pickler: pipes and plain values, no tensors, which it would put into shared memory.
    """
    # The function as bytes, so that what it needs is imported when the child is already safe to interrupt.
    function_bytes = pickle.dumps(function)
    spawn = multiprocessing.get_context("spawn")
    child = spawn.Process(target=_enter, args=(function_bytes, arguments), name=name, daemon=daemon)
    # Blocked in the child, too, until it can ignore it: else Ctrl-C shows the traceback of its imports.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child


def ignore_interrupts() -> None:
    """Leave Ctrl-C, which a terminal sends to every process of a group, to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def exit_with_parent() -> None:
    """End this process, whatever it is doing, as soon as the process that started it is gone, even by SIGKILL."""
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
        process.terminate()
    deadline = time.monotonic() + grace
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    for process in processes:
        process.kill()
        process.join()


def how_it_ended(exitcode: int | None) -> str:
    """Return how a process came to this exit code, to follow its name: `was killed by SIGKILL`."""
    if exitcode is None:
        return "has not ended"
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    try:
        return f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"was killed by signal {-exitcode}"


def _enter(function: bytes, arguments: tuple[Any, ...]) -> None:
    ignore_interrupts()
    exit_with_parent()
    pickle.loads(function)(*arguments)  # noqa: S301 - the parent's own bytes
