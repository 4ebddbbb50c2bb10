"""The processes of one machine, one task after another."""

import os
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import active_children
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node

from knowledge_transfer.learning.distributed import process
from knowledge_transfer.runners.local.devices import Allocator
from knowledge_transfer.runners.local.process_pool import ProcessPool
from knowledge_transfer.runners.messages import Done, Failed, Saved, TaskSpec, task_of
from tests.project import ROOT
from tests.runners.nodes import Unreadable, logical_gpus, threads, where_am_i


def task(function: Any = where_am_i, devices: int = 1) -> TaskSpec:
    return task_of(node(function, None, "out", name="out"), DataCatalog({"out": MemoryDataset()}), {}, devices=devices)


def outcome(pool: ProcessPool) -> Any:
    """Return what the one task comes to, once its process has left its device."""
    found: list[Any] = []
    while not found or not pool.has_capacity(1):
        found += [event.what for event in pool.next_events() if not isinstance(event.what, Saved)]
    (what,) = found
    return what.outputs["out"] if isinstance(what, Done) else what


@pytest.fixture
def pool() -> Iterator[ProcessPool]:
    pool = ProcessPool(Allocator(logical_gpus(1)))
    yield pool
    pool.stop()
    assert active_children() == []


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_task_has_a_process_and_device(pool: ProcessPool, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "METHOD", method)
    assert pool.submit(task()) == ("cuda:0",)
    (child,) = active_children()
    assert child.name == "cuda:0"
    assert outcome(pool) == (child.pid, "10", "cuda:0")
    assert active_children() == [], "it had one task, and is gone"


def test_the_cpu_worker_sees_no_device_and_stays(pool: ProcessPool) -> None:
    found = []
    for _ in range(2):
        assert pool.submit(task(devices=0)) == ("cpu",)
        found.append(outcome(pool))
    assert found[0] == found[1]
    assert found[0][1:] == ("", "cpu")


@pytest.mark.parametrize("given", ["3", None])
def test_a_process_has_its_environment_and_threads(
    pool: ProcessPool, given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those of the server that forks it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    pool.submit(task(threads))
    assert outcome(pool) == (int(given or 5), given or "5")


def test_the_server_uses_no_device_and_no_thread() -> None:
    """CUDA reads CUDA_VISIBLE_DEVICES on its first call: after a fork it is too late."""
    program = """
import os, threading, torch
asked = []
for where, name in ((torch.cuda, "is_available"), (torch.cuda, "device_count"), (torch.cuda, "_lazy_init"),
                    (torch._C, "_cuda_getDeviceCount"), (torch._C, "_cuda_init")):
    if hasattr(where, name):
        setattr(where, name, lambda *_, name=name: asked.append(name) or 0)
torch.cuda.is_available()
from multiprocessing.forkserver import _forkserver
from knowledge_transfer.runners.local import process_pool
for name in _forkserver._preload_modules:
    __import__(name)
print(asked, len(os.listdir("/proc/self/task")), len(_forkserver._preload_modules))
from knowledge_transfer.runners.messages import WorkerSetup
from knowledge_transfer.runners.worker import prepare
from kedro.framework.project import configure_project
configure_project("knowledge_transfer")
prepare(WorkerSetup.current())
print(asked)
"""
    environment = {**os.environ, **process._SERVER_ENVIRONMENT}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=180, check=True, env=environment)
    own = "['is_available']"  # the program's own question
    assert done.stdout.splitlines() == [f"{own} 1 2", own]


def test_a_task_that_cannot_be_read_fails(pool: ProcessPool) -> None:
    pool.submit(task(Unreadable()))
    what = outcome(pool)
    assert isinstance(what, Failed)
    assert what.message == "ValueError: not here"
