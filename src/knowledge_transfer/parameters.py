"""Checks every parameter before anything is built, and gives the pipelines their roster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pydantic import ValidationError

from knowledge_transfer.config import changed
from knowledge_transfer.errors import RunError
from knowledge_transfer.pipelines import building
from knowledge_transfer.pipelines.experiment import VARIANTS, Experiment
from knowledge_transfer.runners.devices import device_settings, machine


class ParametersError(RunError):
    """The configuration cannot be run."""


def check_parameters(parameters: Mapping[str, Any]) -> Experiment:
    """Return the main experiment of the configuration as one checked model.

    Raises ParametersError that lists every fault: misspelt keys with the nearest known one, values out of range.
    """
    return _checked({key: value for key, value in parameters.items() if key not in VARIANTS})


def check_variants(parameters: Mapping[str, Any]) -> dict[str, Experiment | Exception]:
    """Return each variant of the experiment that the configuration has, or the ParametersError that it raises."""
    found: dict[str, Experiment | Exception] = {}
    for name in VARIANTS:
        if parameters.get(name) is not None:
            try:
                found[name] = _checked(parameters[name], f"{name}.")
            except ParametersError as error:
                found[name] = error
    return found


def _checked(parameters: Mapping[str, Any], prefix: str = "") -> Experiment:
    try:
        return Experiment.model_validate(dict(parameters))
    except ValidationError as error:
        lines = [
            f"  {(prefix + '.'.join(map(str, fault['loc']))).strip('.') or 'parameters'}: {_reason(fault)}"
            for fault in error.errors()
        ]
        raise ParametersError("conf: parameters that cannot be used:\n" + "\n".join(lines)) from error


def _reason(fault: Any) -> str:
    reason = str(fault["msg"]).removeprefix("Value error, ")
    given = fault["input"]
    return f"{reason} (got {given!r})" if isinstance(given, str | int | float) else reason


class ParameterHooks:
    """Reads the parameters of a run before its pipelines are built."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check the parameters and put them back complete: every default spelt out, every student named."""
        loader = context.config_loader
        given = loader["parameters"]
        main, variants = check_parameters(given), check_variants(given)
        sound = {name: each for name, each in variants.items() if isinstance(each, Experiment)}
        for key in ("data", "domains"):
            # The catalog reads globals and --params; `data` in a parameters file would change the report alone.
            read = changed(loader["globals"].get(key, {}), (loader.runtime_params or {}).get(key, {}))
            for block in (given, *(given[name] for name in sound)):
                if block.get(key, {}) != read:
                    used = block[key]
                    raise ParametersError(f"a parameters file sets {key} ({used}), which is for globals.yml ({read})")
        building.set_current(main, variants)
        complete = {name: each.model_dump(mode="json") for name, each in sound.items()}
        loader["parameters"] = {**given, **main.model_dump(mode="json"), **complete}

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Stop before the first node when a variant is run that cannot be, or a device is not there, or full."""
        for name in run_params["pipeline_names"] or ():
            building.require_sound(name)
        # A cluster's devices are not this machine's; its runner looks for itself.
        if "RayRunner" not in str(run_params.get("runner")):
            machine(device_settings(pipeline, catalog), processes=1)
