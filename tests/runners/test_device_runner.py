"""Nodes side by side on devices: who runs where, what comes back, what happens when one fails."""

import os
import signal
from collections.abc import Iterator
from multiprocessing import active_children
from threading import Event
from typing import Any

import pytest
import torch
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro_datasets.json import JSONDataset

from knowledge_transfer.errors import RunError
from knowledge_transfer.runners import DeviceRunner
from knowledge_transfer.runners.local import runner as device_runner
from knowledge_transfer.runners.scheduler import NodeError
from tests.runners.nodes import (
    Door,
    die,
    die_once,
    double,
    fill_the_gpu,
    gpu,
    logical_gpus,
    lose_a_rank_once,
    meet,
    meet_and_die_once,
    run,
    visible,
)


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.listener.close()


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    assert active_children() == []


class Ended:
    """How every node ended, and where."""

    def __init__(self) -> None:
        self.all: list[tuple[str, tuple[str, ...], str]] = []
        self.attempts: list[tuple[str, int]] = []
        self.failed = Event()
        self.started_on: list[tuple[str, ...]] = []

    @hook_impl
    def on_run_started(self, devices: tuple[str, ...]) -> None:
        self.started_on.append(devices)

    @hook_impl
    def on_node_started(self, node: Any, attempt: int) -> None:
        self.attempts.append((node.name, attempt))

    @hook_impl
    def on_node_ended(self, node: Any, devices: tuple[str, ...], status: str) -> None:
        self.all.append((node.name, devices, status))
        if status == "failed":
            self.failed.set()


def students(count: int) -> Pipeline:
    return Pipeline([gpu(meet, "door", f"student{number}") for number in range(count)])


def test_four_students_overlap_and_a_fifth_waits(door: Door) -> None:
    ended = Ended()
    catalog = DataCatalog({"door": MemoryDataset(door.address)})
    thread = door.start(students(5), catalog, DeviceRunner(devices=logical_gpus(4)), ended)
    inside = {devices: connection for connection, _, devices in (door.accept() for _ in range(4))}
    assert inside.keys() == {"10", "11", "12", "13"}, "all four are in at once, each sees a device of its own"
    assert not door.is_anyone_waiting()
    inside.pop("12").send("first")
    fifth, _, devices = door.accept()
    assert devices == "12"
    for connection in (*inside.values(), fifth):
        connection.send("later")
    thread.join()
    assert door.error is None
    assert sorted(door.result.values()) == ["first", *["later"] * 4]
    assert [devices for name, devices, _ in ended.all if name == "student4"] == [("cuda:2",)]


def test_nodes_see_their_own_devices_or_none() -> None:
    large = gpu(visible, ["params:target"], "large", "train_large", "training")
    pipeline = Pipeline([node(visible, None, "table", name="table"), gpu(visible, None, "small"), large])
    catalog = DataCatalog({"params:target": MemoryDataset({"devices": 3})})
    seen = run(pipeline, catalog)
    assert seen["table"] == ""
    assert seen["small"] in {"10", "11", "12", "13"}
    assert len(set(seen["large"].split(","))) == 3


def test_too_many_devices_are_refused_before_the_run() -> None:
    large = gpu(visible, ["params:target"], "large", "train_large", "training")
    catalog = DataCatalog({"params:target": MemoryDataset({"devices": 5})})
    with pytest.raises(RunError, match=r"train_large computes on 5 devices \(target.devices\), this run has 4"):
        run(Pipeline([gpu(die, None, "never"), large]), catalog)


def test_data_goes_to_the_processes_and_back(tmp_path: Any) -> None:
    stored = JSONDataset(filepath=str(tmp_path / "four.json"))
    catalog = DataCatalog({"two": MemoryDataset(2), "four": stored})
    pipeline = Pipeline(
        [gpu(double, "two", "four"), gpu(double, "four", "eight"), node(double, "eight", "sixteen", name="sixteen")]
    )
    assert run(pipeline, catalog) == {"sixteen": 32 // 2}
    assert stored.load() == 4


@pytest.mark.parametrize("per_device", [1, 2])
def test_a_device_has_as_many_nodes_as_configured(door: Door, per_device: int) -> None:
    values = {"door": door.address, "params:devices": "auto", "params:per_device": per_device}
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in values.items()})
    pipeline = Pipeline([gpu(meet, ["door", "params:devices"], f"student{number}") for number in range(3)])
    thread = door.start(pipeline, catalog, DeviceRunner(devices=logical_gpus(2)))
    inside = [door.accept() for _ in range(2 * per_device if per_device == 1 else 3)]
    assert not door.is_anyone_waiting()
    assert len({devices for _, _, devices in inside}) == 2
    for connection, _, _ in inside:
        connection.send("go")
    if per_device == 1:
        door.accept()[0].send("go")
    thread.join()
    assert door.error is None


def test_siblings_of_a_failed_node_finish_and_save(door: Door, tmp_path: Any) -> None:
    ended = Ended()
    stored = {f"student{number}": JSONDataset(filepath=str(tmp_path / f"{number}.json")) for number in range(4)}
    catalog = DataCatalog({"door": MemoryDataset(door.address), **stored})
    pipeline = Pipeline(
        [
            *(gpu(meet, "door", f"student{number}", None, "training") for number in range(4)),
            gpu(double, "student1", "never"),
        ]
    )
    thread = door.start(pipeline, catalog, DeviceRunner(devices=logical_gpus(4)), ended)
    inside = {devices: connection for connection, _, devices in (door.accept() for _ in range(4))}
    inside.pop("10").send("raise")
    for connection in inside.values():
        connection.send("finished")
    thread.join()
    assert isinstance(door.error, NodeError)
    assert "student0 (student0) on cuda:0 failed: ValueError: it had to" in str(door.error)
    assert "in meet" in str(door.error), "a developer gets the traceback"
    assert [stored[f"student{number}"].load() for number in (1, 2, 3)] == ["finished"] * 3
    assert sorted(status for _, _, status in ended.all) == ["failed", *["finished"] * 3]


def test_a_killed_node_is_retried_with_a_warning(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    ended = Ended()
    catalog = DataCatalog({"flag": MemoryDataset(str(tmp_path / "flag")), "signal": MemoryDataset(int(signal.SIGKILL))})
    assert run(Pipeline([gpu(die_once, ["flag", "signal"], "student")]), catalog, None, ended) == {"student": "lived"}
    assert "student on cuda:0 was killed by SIGKILL: it starts once more" in caplog.text
    assert ended.attempts == [("student", 1), ("student", 2)]
    assert [status for _, _, status in ended.all] == ["killed", "finished"]


@pytest.mark.parametrize("tags", [["gpu"], []])
def test_a_node_killed_twice_fails_the_run(tags: list[str]) -> None:
    pipeline = Pipeline([node(die, None, "student", name="student", tags=tags), gpu(visible, None, "other")])
    with pytest.raises(RunError, match=r"student on (cuda:.|cpu) failed: its process was killed by SIGKILL, twice"):
        run(pipeline, DataCatalog())


def test_a_function_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(RunError, match=r"student failed: cannot be sent to another process .* that can be imported"):
        run(Pipeline([gpu(lambda: 1, None, "student"), gpu(double, "student", "later")]), DataCatalog())


def test_a_killed_node_is_retried_after_a_failure(door: Door, tmp_path: Any) -> None:
    ended = Ended()
    values = {"door": door.address, "flag": str(tmp_path / "flag"), "signal": int(signal.SIGKILL)}
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in values.items()})
    pipeline = Pipeline([gpu(meet, "door", "student"), gpu(meet_and_die_once, ["door", "flag", "signal"], "killed")])
    thread = door.start(pipeline, catalog, DeviceRunner(devices=logical_gpus(2)), ended)
    inside = {devices: connection for connection, _, devices in (door.accept() for _ in range(2))}
    # By name "killed" starts first.
    inside["11"].send("raise")
    ended.failed.wait(60)
    inside["10"].send("die")
    door.accept()[0].send("live")
    thread.join()
    assert "student on cuda:1 failed" in str(door.error)
    assert [status for _, _, status in ended.all] == ["failed", "killed", "finished"]


def test_a_fit_that_loses_a_rank_is_retried(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    catalog = DataCatalog({"flag": MemoryDataset(str(tmp_path / "flag"))})
    assert run(Pipeline([gpu(lose_a_rank_once, "flag", "target")]), catalog) == {"target": "lived"}
    assert "target on cuda:0 lost a process of its own: rank 2 was killed: it starts once more" in caplog.text


def test_the_only_free_gpu_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    second = logical_gpus(2)[1:]
    monkeypatch.setattr(device_runner, "resolve_device", lambda _: torch.device("cuda"))
    assert run(Pipeline([gpu(visible, None, "seen")]), DataCatalog(), DeviceRunner(devices=second)) == {"seen": "11"}


def test_a_full_gpu_has_a_message_without_traceback() -> None:
    with pytest.raises(RunError) as caught:
        run(Pipeline([gpu(fill_the_gpu, None, "student")]), DataCatalog())
    assert str(caught.value) == (
        "student on cuda:0 failed: the GPU is out of memory: lower per_device, or batch_size of the recipe "
        "(CUDA out of memory. Tried to allocate 20.00 MiB.)"
    )


def test_room_for_one_node_is_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_runner, "resolve_device", lambda _: torch.device("cuda"))
    here = run(Pipeline([gpu(os.getpid, None, "pid")]), DataCatalog(), DeviceRunner(devices=logical_gpus(1)))
    assert here == {"pid": os.getpid()}


@pytest.mark.parametrize("wrong", [0, "four", True])
def test_a_number_of_processes_is_a_number(wrong: Any) -> None:
    with pytest.raises(RunError, match="processes is a number of processes, got"):
        DeviceRunner(processes=wrong)


def test_a_misspelt_runner_parameter_names_the_near_one() -> None:
    with pytest.raises(RunError, match=r"--runner-params: unknown 'proceses'; did you mean 'processes'\?"):
        DeviceRunner(proceses=2)
