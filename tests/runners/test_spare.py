"""The processes of one machine, and the spare one among them, ordered by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import active_children
from typing import Any

import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node

from knowledge_transfer.runners.local.process_pool import ProcessCrew, _move
from knowledge_transfer.runners.local.slots import Slots
from knowledge_transfer.runners.messages import Order, order_of
from knowledge_transfer.runners.worker import Done, Failed, Saved
from tests.project import ROOT
from tests.runners.nodes import Unreadable, logical_gpus, where_am_i


def order(devices: int = 1) -> Order:
    return order_of(
        node(where_am_i, None, "told", name="told"), DataCatalog({"told": MemoryDataset()}), {}, devices=devices
    )


def outcome(crew: ProcessCrew) -> Any:
    """Return what the one order comes to, once its process has left its device."""
    said = []
    while not said or not crew.has_room(1):
        said += [report.what for report in crew.reports() if not isinstance(report.what, Saved)]
    (what,) = said
    return what.outputs["told"] if isinstance(what, Done) else what


def spare_of(crew: ProcessCrew) -> Any:
    """Return the spare process of a crew, once it is ready."""
    crew.expect(2)
    assert crew.reports() == [], "that a process is ready is of no node"
    (spare,) = active_children()
    return spare


@pytest.fixture
def crew() -> Iterator[ProcessCrew]:
    crew = ProcessCrew(Slots(logical_gpus(1)), threads=1)
    yield crew
    crew.stop()
    assert active_children() == []


def test_the_spare_takes_the_order_and_sees_the_device_that_it_is_told_with_it(crew: ProcessCrew) -> None:
    spare = spare_of(crew)
    assert crew.start(order()) == ("cuda:0",)
    assert spare.name == "cuda:0"
    assert outcome(crew) == (spare.pid, "10", "cuda:0")
    assert active_children() == [], "it had one order, and is gone"


def test_there_is_one_spare_at_most_and_none_when_nothing_is_left_to_start(crew: ProcessCrew) -> None:
    crew.expect(0)
    assert active_children() == []
    spare = spare_of(crew)
    crew.expect(3)
    assert active_children() == [spare]
    crew.expect(0)
    assert active_children() == []
    crew.expect(1)
    assert len(active_children()) == 1


def test_nobody_imports_for_later_while_others_still_import_for_now(crew: ProcessCrew) -> None:
    crew.start(order())
    crew.expect(1)
    assert [child.name for child in active_children()] == ["cuda:0"]
    assert crew.reports() == []
    crew.expect(1)
    assert sorted(child.name for child in active_children()) == ["cuda:0", "spare"]


@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_spare_that_dies_is_no_failure_of_a_node(crew: ProcessCrew, is_noticed: bool) -> None:
    crew.expect(2)
    (spare,) = active_children()
    spare.kill()
    if is_noticed:
        assert crew.reports() == []
        crew.expect(2)
        assert active_children() == [], "what has ended it would end the next one"
    else:
        spare.join()
    assert crew.start(order()) == ("cuda:0",)
    pid, *seen = outcome(crew)
    assert pid != spare.pid
    assert seen == ["10", "cuda:0"]
    crew.expect(1)
    assert len(active_children()) == 1


@pytest.mark.parametrize("is_ready", [True, False])
def test_a_spare_ends_at_once_with_the_crew(crew: ProcessCrew, is_ready: bool) -> None:
    if is_ready:
        spare_of(crew)
    crew.expect(1)
    began = time.monotonic()
    crew.stop()
    assert active_children() == []
    assert time.monotonic() - began < 2.5, "it is told to end, not waited for"


def test_a_spare_leaves_ctrl_c_to_its_parent(crew: ProcessCrew) -> None:
    spare = spare_of(crew)
    os.kill(spare.pid, signal.SIGINT)
    crew.start(order())
    assert outcome(crew)[0] == spare.pid


def test_a_spare_ends_with_its_parent_even_if_that_is_killed() -> None:
    program = """
import time
from tests.runners.test_spare import ProcessCrew, Slots, logical_gpus, spare_of
crew = ProcessCrew(Slots(logical_gpus(1)), threads=1)
print(spare_of(crew).name, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "spare\n"
    parent.kill()
    # The spare has the same standard output, which ends with the last who has it.
    assert parent.communicate(timeout=20) == ("", None)


def test_the_clerk_sees_no_device_and_stays(crew: ProcessCrew) -> None:
    spare = spare_of(crew)
    told = []
    for _ in range(2):
        assert crew.start(order(devices=0)) == ("cpu",)
        told.append(outcome(crew))
    assert told[0][0] != spare.pid, "the spare is for those who compute on devices"
    assert told[0] == told[1]
    assert told[0][1:] == ("", "cpu")


def test_what_is_imported_before_the_device_is_known_asks_for_none() -> None:
    """CUDA reads CUDA_VISIBLE_DEVICES when it is first asked, also how many devices there are: later is too late."""
    program = """
import torch
asked = []
for where, name in ((torch.cuda, "is_available"), (torch.cuda, "device_count"), (torch.cuda, "_lazy_init"),
                    (torch._C, "_cuda_getDeviceCount"), (torch._C, "_cuda_init")):
    if hasattr(where, name):
        setattr(where, name, lambda *_, name=name: asked.append(name) or 0)
torch.cuda.is_available()
from kedro.framework.project import configure_project
from knowledge_transfer.runners.messages import Setting
from knowledge_transfer.runners.local.process_pool import serve
from knowledge_transfer.runners.worker import prepare
configure_project("knowledge_transfer")
prepare(Setting.present())
print(asked)
"""
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=True)
    assert told.stdout == "['is_available']\n", "the program's own question, and no other"


def test_a_process_that_has_used_a_device_is_not_sent_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="CUDA is in use before CUDA_VISIBLE_DEVICES is set"):
        _move({})


def test_an_order_that_cannot_be_read_fails_its_node(crew: ProcessCrew) -> None:
    broken = order_of(node(Unreadable(), None, "told", name="told"), DataCatalog(), {}, devices=1)
    crew.start(broken)
    what = outcome(crew)
    assert isinstance(what, Failed)
    assert what.message == "ValueError: not here"
