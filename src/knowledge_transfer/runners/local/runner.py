"""The runner of one machine: nodes that compute side by side, each on a device of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, SequentialRunner

from knowledge_transfer.errors import RunError
from knowledge_transfer.learning.config import did_you_mean
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.runners.costs import devices_of
from knowledge_transfer.runners.local.devices import Allocator, Device, gpus, processors

if TYPE_CHECKING:
    from pluggy import PluginManager

_MOST_PROCESSES = 4  # on a CPU by default, one for each student of the published experiment


class DeviceRunner(AbstractRunner):
    """Runs every node tagged `gpu` in a fresh process on a device of its own, all other nodes one after another.

    Without a GPU `processes` share the CPU (none: one a core, at most four). With capacity for one node everything runs
    in this process. `devices` override the parameter.
    """

    def __init__(
        self,
        is_async: bool = False,
        processes: int | None = None,
        devices: Sequence[Device] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(is_async=is_async)
        refuse_unknown(unknown, ("processes",))
        if processes is not None and (type(processes) is not int or processes < 1):
            raise RunError(f"--runner-params=processes is a number of processes, got {processes!r}")
        self._processes, self._devices = processes, devices

    def _get_executor(self, max_workers: int) -> Executor | None:  # noqa: ARG002
        return None

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol,
        hook_manager: PluginManager | None = None,
        run_id: str | None = None,
    ) -> None:
        needed = devices_of(pipeline, catalog)
        if not needed or hook_manager is None:
            super()._run(pipeline, catalog, hook_manager, run_id)
            return
        settings = DeviceSettings.of(pipeline, catalog)
        devices = self._devices or settings.on_this_machine(self._processes)
        require_devices(needed, len(devices))
        allocator = Allocator(devices, settings.per_device if devices[0].is_gpu else 1)
        if allocator.capacity == 1 and _is_own(devices[0], settings.devices):
            super()._run(pipeline, catalog, hook_manager, run_id)
        else:
            # Only here: with one device there are no other processes.
            from knowledge_transfer.runners.local.process_pool import ProcessPool
            from knowledge_transfer.runners.scheduler import run_nodes

            run_nodes(self, ProcessPool(allocator), pipeline, catalog, hook_manager, run_id)


def default_runner(**options: Any) -> AbstractRunner:
    """Return the default runner of `kedro run`, which uses the GPUs if there are any."""
    # Imported late: torch takes seconds, and `kedro --help` imports this module.
    import torch

    return DeviceRunner(processes=1, **options) if torch.cuda.is_available() else SequentialRunner(**options)


@dataclass(frozen=True)
class DeviceSettings:
    """The parameters `devices` and `per_device` of an experiment."""

    devices: str = "auto"
    per_device: int = 1

    @classmethod
    def of(cls, pipeline: Pipeline, catalog: CatalogProtocol) -> DeviceSettings:
        """Return the settings of the pipeline's experiment; the defaults if it has none."""
        names = [name for name in pipeline.inputs() if name.startswith("params:") and name.endswith("devices")]
        if not names:
            return cls()
        sibling = min(names).removesuffix("devices") + "per_device"
        return cls(catalog.load(min(names)), catalog.load(sibling) if sibling in catalog else 1)

    def on_this_machine(self, processes: int | None) -> tuple[Device, ...]:
        """Return the devices. Raises RunError for devices that this machine does not have."""
        try:
            found = gpus(self.devices)
        except ValueError as error:
            raise RunError(str(error)) from error
        return found or processors(processes or min(os.cpu_count() or 1, _MOST_PROCESSES))


def require_this_machine(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Raise RunError if `pipeline` needs a missing or full device, or more devices than there are."""
    if needed := devices_of(pipeline, catalog):
        settings = DeviceSettings.of(pipeline, catalog)
        devices = settings.on_this_machine(processes=1)
        is_cpu = not devices[0].is_gpu and resolve_device(settings.devices).type != "mps"
        # On the CPU a process counts as a device; more processes than cores are useless.
        require_devices(needed, max(2, os.cpu_count() or 1) if is_cpu else len(devices))


def refuse_unknown(given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise RunError for an unknown parameter of a runner, with the nearest known one."""
    for name in given:
        raise RunError(f"--runner-params: unknown '{name}'{did_you_mean(name, known)}")


def require_devices(needed: Mapping[str, int], present: int) -> None:
    """Raise RunError if a node needs more devices than are present."""
    for node, devices in needed.items():
        if devices > present:
            raise RunError(
                f"{node} computes on {devices} devices (target.devices), this run has {present}: lower target.devices"
            )


def _is_own(device: Device, choice: str) -> bool:
    """Return whether nodes in this process compute on that device, given the parameter `choice`."""
    return not device.is_gpu or device.name == f"cuda:{resolve_device(choice).index or 0}"
