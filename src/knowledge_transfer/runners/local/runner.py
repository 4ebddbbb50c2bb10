"""The runner of one machine: nodes that compute side by side, each on a device of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, SequentialRunner

from knowledge_transfer.errors import RunError
from knowledge_transfer.learning.config import did_you_mean
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.runners.costs import devices_of
from knowledge_transfer.runners.frame import run_nodes
from knowledge_transfer.runners.local.devices import Place, gpus, processors
from knowledge_transfer.runners.local.process_pool import ProcessCrew
from knowledge_transfer.runners.local.slots import Slots

if TYPE_CHECKING:
    from pluggy import PluginManager

_MOST_PROCESSES = 4  # of a CPU, unless told otherwise: as many as the published experiment has students


class DeviceRunner(AbstractRunner):
    """Runs every node tagged `gpu` in a fresh process on a device of its own, all other nodes one after another.

    The devices are those of the parameter `devices`; where that means no GPU, `processes` share the CPU (none: one for
    each core, at most four). With room for one node only, everything runs in this process, as Kedro's own runner does.
    `places` stand in for the devices, whatever the parameters say.
    """

    def __init__(
        self,
        is_async: bool = False,
        processes: int | None = None,
        places: Sequence[Place] | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__(is_async=is_async)
        refuse_unknown(unknown, ("processes",))
        if processes is not None and (type(processes) is not int or processes < 1):
            raise RunError(f"--runner-params=processes is a number of processes, got {processes!r}")
        self._processes, self._places = processes, places

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
        settings = device_settings(pipeline, catalog)
        places = self._places or machine(settings, self._processes)
        slots = Slots(places, settings["per_device"] if places[0].is_gpu else 1)
        require_devices(needed, len(places))
        if len(slots.places) * slots.per_device == 1 and is_own(places[0], settings["devices"]):
            super()._run(pipeline, catalog, hook_manager, run_id)
            return
        crew = ProcessCrew(slots, threads=max(1, (os.cpu_count() or 1) // (len(places) * slots.per_device)))
        run_nodes(self, crew, pipeline, catalog, hook_manager, run_id)


def default_runner(**options: Any) -> AbstractRunner:
    """Return the runner of a plain `kedro run`: one that uses the GPUs, where there are any."""
    # Importing torch takes seconds, and `kedro --help` imports this module.
    import torch

    return DeviceRunner(processes=1, **options) if torch.cuda.is_available() else SequentialRunner(**options)


def device_settings(pipeline: Pipeline, catalog: CatalogProtocol) -> dict[str, Any]:
    """Return `devices` and `per_device` of the experiment that the pipeline is of; auto and 1 where it has none."""
    found = {"devices": "auto", "per_device": 1}
    for name in pipeline.inputs():
        if name.startswith("params:") and name.endswith("devices"):
            found["devices"] = catalog.load(name)
            sibling = name.removesuffix("devices") + "per_device"
            if sibling in catalog:
                found["per_device"] = catalog.load(sibling)
    return found


def machine(settings: Mapping[str, Any], processes: int | None) -> tuple[Place, ...]:
    """Return the places of this machine. Raises RunError, saying what there is, for devices that it cannot give."""
    try:
        found = gpus(settings["devices"])
    except ValueError as error:
        raise RunError(str(error)) from error
    return found or processors(processes or min(os.cpu_count() or 1, _MOST_PROCESSES))


def is_own(place: Place, choice: str) -> bool:
    """Return whether a node in this process, told `choice`, would compute at that place."""
    return not place.is_gpu or place.name == f"cuda:{resolve_device(choice).index or 0}"


def refuse_unknown(given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise RunError, naming the nearest, for a runner's parameter that it does not have."""
    for name in given:
        raise RunError(f"--runner-params: unknown '{name}'{did_you_mean(name, known)}")


def require_devices(needed: Mapping[str, int], present: int) -> None:
    """Raise RunError when a node computes on more devices than a machine of this run has."""
    for node, devices in needed.items():
        if devices > present:
            raise RunError(
                f"{node} computes on {devices} devices (target.devices), this run has {present}: lower target.devices"
            )
