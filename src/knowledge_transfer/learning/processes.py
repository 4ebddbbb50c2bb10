"""Child processes that end when they should: with their parent, when asked, and never by a Ctrl-C meant for it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess


def ignore_interrupts() -> None:
    """Leave Ctrl-C, which a terminal sends to every process of a group, to the parent; SIGTERM ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def exit_with_parent() -> None:
    """End this process at once when its parent is gone, however that came about."""
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="exit with parent").start()


def stop(processes: Sequence[BaseProcess], grace: float = 3.0) -> None:
    """End the processes: ask all, and kill those that are still there after `grace` seconds."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + grace
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def how_it_ended(exitcode: int) -> str:
    """Return how a process with that exit code ended, in words that follow its name."""
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    try:
        return f"was killed by {signal.Signals(-exitcode).name}"
    except ValueError:
        return f"was killed by signal {-exitcode}"
