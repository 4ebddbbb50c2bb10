"""Which devices a run may use: of those configured, those of the machine that others have not taken."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node

from knowledge_transfer.errors import RunError
from knowledge_transfer.hooks.parameters import ParameterHooks, ParametersError, check_parameters
from knowledge_transfer.learning.hardware import numbers_in, resolve_device
from knowledge_transfer.pipeline_registry import _base_parameters
from knowledge_transfer.runners import DeviceRunner, default_runner
from knowledge_transfer.runners.local import devices
from knowledge_transfer.runners.local.devices import Allocator, Device, gpus, processors

GIB = 1024**3
Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with GPUs of so many free GiB."""

    def have(*free: float, visible: str | None = None) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(free))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
        monkeypatch.setattr(
            devices, "free_memory", lambda numbers: {number: int(free[number] * GIB) for number in numbers}
        )
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    return have


def names(choice: str) -> list[tuple[str, str]]:
    return [(device.name, device.visible) for device in gpus(choice)]


def test_auto_is_every_gpu(machine: Machine) -> None:
    machine(80, 80)
    assert names("auto") == [("cuda:0", "0"), ("cuda:1", "1")]
    machine()
    assert names("auto") == []


def test_numbers_choose_some_in_their_order(machine: Machine) -> None:
    machine(80, 80, 80, 80)
    assert names("3 1") == [("cuda:3", "3"), ("cuda:1", "1")]
    assert names("cuda:2") == [("cuda:2", "2")]
    assert names("cpu") == []


def test_numbers_count_the_visible_devices(machine: Machine) -> None:
    machine(80, 80, visible="GPU-a, 5")
    assert names("auto") == [("cuda:0", "GPU-a"), ("cuda:1", "5")]


@pytest.mark.parametrize(("free", "have"), [((), "no GPU"), ((80, 80), "2 GPUs, numbered from 0")])
def test_a_missing_gpu_is_refused(machine: Machine, free: Any, have: str) -> None:
    machine(*free)
    with pytest.raises(ValueError, match=f"there is no GPU 2, this machine has {have}: set devices to auto"):
        gpus("0 2" if free else "2")


def test_auto_skips_a_full_gpu_numbers_refuse(machine: Machine) -> None:
    machine(80, 1.5)
    assert names("auto") == [("cuda:0", "0")]
    with pytest.raises(ValueError, match=r"GPU 1 \(1.5 GiB free\) is full"):
        gpus("0 1")
    machine(1.5, 0.5)
    with pytest.raises(ValueError, match=r"GPU 0 \(1.5 GiB free\), GPU 1 \(0.5 GiB free\) is full"):
        gpus("auto")


def test_a_run_without_devices_is_not_checked(machine: Machine) -> None:
    machine(0.5, 0.5)
    table = Pipeline([node(list, None, "table", name="table")])
    ParameterHooks().before_pipeline_run(run_params={"pipeline_names": None}, pipeline=table, catalog=DataCatalog())
    student = Pipeline([node(list, "params:devices", "student", name="student", tags=["gpu"])])
    catalog = DataCatalog({"params:devices": MemoryDataset("auto")})
    with pytest.raises(RunError, match=r"GPU 0 .* is full"):
        ParameterHooks().before_pipeline_run(run_params={"pipeline_names": None}, pipeline=student, catalog=catalog)


def test_a_target_on_too_many_gpus_is_refused(machine: Machine) -> None:
    machine(80, 80)
    inputs = ["params:devices", "params:target"]
    target = Pipeline([node(print, inputs, "target", name="distil_target", tags=["gpu", "training"])])
    catalog = DataCatalog({"params:devices": MemoryDataset("auto"), "params:target": MemoryDataset({"devices": 4})})
    with pytest.raises(RunError, match=r"distil_target computes on 4 devices .*, this run has 2"):
        ParameterHooks().before_pipeline_run(run_params={"pipeline_names": None}, pipeline=target, catalog=catalog)


def test_a_gpu_that_does_not_answer_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    devices.free_memory.cache_clear()
    asked = (
        "import torch\n"
        "def free_of(index):\n"
        "    if index == 1: raise RuntimeError('CUDA error: out of memory')\n"
        "    return 80 << 30, 0\n"
        "torch.cuda.mem_get_info = free_of\n"
    )
    monkeypatch.setattr(devices, "_PROBE", asked + devices._PROBE)
    assert devices.free_memory((0, 1)) == {0: 80 << 30, 1: 0}
    devices.free_memory.cache_clear()


def test_a_plain_run_uses_gpus(machine: Machine) -> None:
    machine(80)
    assert isinstance(default_runner(), DeviceRunner)
    machine()
    assert type(default_runner()).__name__ == "SequentialRunner"


@pytest.mark.parametrize(
    ("given", "text"),
    [("auto", "auto"), ("cpu", "cpu"), (1, "1"), ([0, 1, 3], "0 1 3"), ("0 1 3", "0 1 3"), ((2,), "2"), ("07", "7")],
)
def test_devices_are_a_word_or_numbers(given: Any, text: str) -> None:
    assert check_parameters({**_base_parameters(), "devices": given}).devices == text


@pytest.mark.parametrize("given", [[0, 0], [], True, [True], [-1], ["a"], [1.5], "0 0"])
def test_what_is_no_set_of_devices_is_refused(given: Any) -> None:
    with pytest.raises(ParametersError, match=r"devices are auto, cpu, mps, or different numbers of GPUs"):
        check_parameters({**_base_parameters(), "devices": given})


def test_a_single_process_takes_the_first_number(machine: Machine) -> None:
    machine(80, 80)
    assert resolve_device("1 0") == torch.device("cuda:1")
    assert numbers_in("auto") == ()


def test_the_least_used_device_goes_first() -> None:
    first, second = Device("cuda:0", "0"), Device("cuda:1", "1")
    allocator = Allocator((first, second), per_device=2)
    assert [allocator.take(1) for _ in range(3)] == [(first,), (second,), (first,)]
    allocator.give_back((second,))
    assert allocator.take(1) == (second,)
    assert allocator.has_capacity(1)
    allocator.take(1)
    assert not allocator.has_capacity(1)
    with pytest.raises(ValueError, match="1 devices needed, too few free of 2"):
        allocator.take(1)


def test_a_node_on_several_devices_shares_none() -> None:
    allocator = Allocator(processors(3), per_device=2)
    allocator.take(1)
    assert not allocator.has_capacity(3)
    pair = allocator.take(2)
    assert {device.name for device in pair} == {"cpu:1", "cpu:2"}
    assert allocator.take(1) == (Device("cpu:0"),)
    assert not allocator.has_capacity(1)
    allocator.give_back(pair)
    assert allocator.has_capacity(2)
