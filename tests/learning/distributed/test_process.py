"""A child leaves nothing behind. What the children run is Python's own: a test module need not be found by them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from knowledge_transfer.learning.distributed import process

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); pipe.send(0); time.sleep(60)"


def started(program):
    """Return a child in which `program` has started and sent something, and the pipe to it."""
    ours, theirs = multiprocessing.Pipe()
    with theirs:
        child = process.start(exec, program, {"pipe": theirs}, name="child")
    assert ours.poll(20)
    ours.recv()
    return child, ours


@pytest.mark.parametrize(
    ("exitcode", "words"),
    [
        (None, "has not ended"),
        (0, "ended with exit code 0"),
        (3, "ended with exit code 3"),
        (-signal.SIGKILL, "was killed by SIGKILL"),
        (-60, "was killed by signal 60"),
    ],
)
def test_how_it_ended(exitcode, words):
    assert process.how_it_ended(exitcode) == words


def test_a_willing_child_is_stopped_at_once():
    willing, _ = started("import time; pipe.send(0); time.sleep(60)")
    over, _ = started("pipe.send(0)")
    over.join()
    began = time.monotonic()
    process.stop([over, willing], grace=30)
    assert time.monotonic() - began < 10
    assert [over.exitcode, willing.exitcode] == [0, -signal.SIGTERM]


def test_a_stubborn_child_is_killed():
    stubborn, _ = started(STUBBORN)
    process.stop([stubborn], grace=0.2)
    assert stubborn.exitcode == -signal.SIGKILL


def too_long():
    raise OSError("AF_UNIX path too long")


@pytest.mark.parametrize("ensure_running", [process.forkserver.ensure_running, too_long])
def test_ctrl_c_is_left_to_the_parent(ensure_running, monkeypatch):
    monkeypatch.setattr(process.forkserver, "ensure_running", ensure_running)
    child, pipe = started("pipe.send(0); pipe.send(pipe.recv())")
    os.kill(child.pid, signal.SIGINT)
    pipe.send("still here")
    assert pipe.poll(20)
    assert pipe.recv() == "still here"
    child.join()


def test_a_child_ends_with_its_parent():
    program = """
import time
from tests.learning.distributed.test_process import STUBBORN, started
started(STUBBORN)
print("child is there", flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "child is there\n"
    parent.kill()
    # The child has the same standard output, which ends with the last who has it.
    assert parent.communicate(timeout=20) == ("", None)
