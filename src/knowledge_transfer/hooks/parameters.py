"""Checks every parameter before pipelines are built from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pydantic import BaseModel, ValidationError

from knowledge_transfer.errors import RunError
from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import PARTS, STUDIES, VARIANTS, Experiment
from knowledge_transfer.experiment.current import Plan
from knowledge_transfer.experiment.loader import changed
from knowledge_transfer.runners.local.devices import free_memory
from knowledge_transfer.runners.local.runner import require_this_machine

_Model = TypeVar("_Model", bound=BaseModel)


class ParametersError(RunError):
    """The configuration cannot be run."""


def check_parameters(parameters: Mapping[str, Any]) -> Experiment:
    """Return the main experiment as one checked model. Raises ParametersError that lists every fault."""
    return _checked(Experiment, {key: value for key, value in parameters.items() if key not in PARTS})


class Parts(Mapping[str, BaseModel | Exception]):
    """The variants and studies of a configuration, each checked when it is first read: a model, or its ParametersError.

    Checking a study imports its plots and tables, which other runs do not need. `complete` receives each sound part.
    """

    def __init__(
        self, parameters: Mapping[str, Any], complete: Callable[[str, BaseModel], None] = lambda *_: None
    ) -> None:
        self._given = {name: parameters[name] for name in PARTS if parameters.get(name) is not None}
        self._checked: dict[str, BaseModel | Exception] = {}
        self._complete = complete

    def __getitem__(self, name: str) -> BaseModel | Exception:
        given = self._given[name]
        if name not in self._checked:
            try:
                part = self._checked[name] = _checked(_model_of(name), given, f"{name}.")
                self._complete(name, part)
            except ParametersError as error:
                self._checked[name] = error
        return self._checked[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)


def _model_of(part: str) -> type[BaseModel]:
    if part in VARIANTS:
        return Experiment
    # Imported late: a study imports plots and tables, which other runs do not need.
    settings: type[BaseModel] = import_module(f"knowledge_transfer.pipelines.{part}.settings").Settings
    return settings


def _checked(model: type[_Model], parameters: Mapping[str, Any], prefix: str = "") -> _Model:
    try:
        return model.model_validate(dict(parameters) if isinstance(parameters, Mapping) else parameters)
    except ValidationError as error:
        lines = [
            f"  {(prefix + '.'.join(map(str, fault['loc']))).strip('.') or 'parameters'}: {_reason(fault)}"
            for fault in error.errors()
        ]
        raise ParametersError("conf: parameters that cannot be used:\n" + "\n".join(lines)) from error


def _require_weights_of_globals(given: Mapping[str, Any], of_globals: Any, runtime_params: Mapping[str, Any]) -> None:
    """Raise ParametersError when a study's parameters name other pretrained weights than those the catalog reads."""
    for name in STUDIES:
        block, runtime = given.get(name), runtime_params.get(name)
        read = runtime.get("weights", of_globals) if isinstance(runtime, Mapping) else of_globals
        if isinstance(block, Mapping) and "weights" in block and block["weights"] != read:
            raise ParametersError(
                f"a parameters file sets {name}.weights ({block['weights']}), which is for globals.yml ({read})"
            )


def _reason(fault: Any) -> str:
    is_block = fault["type"] in ("model_type", "dict_type", "model_attributes_type")
    reason = "a block of settings by name" if is_block else str(fault["msg"]).removeprefix("Value error, ")
    given = fault["input"]
    return f"{reason} (got {given!r})" if isinstance(given, str | int | float) else reason


class ParameterHooks:
    """Reads the parameters of a run before its pipelines are built."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check the parameters and complete them by defaults and the names of students."""
        loader = context.config_loader
        given = loader["parameters"]
        main = check_parameters(given)
        loader["parameters"] = {**given, **main.model_dump(mode="json")}

        def complete(name: str, part: BaseModel) -> None:
            loader["parameters"] = {**loader["parameters"], name: part.model_dump(mode="json")}

        parts = Parts(given, complete)
        experiments = [name for name in VARIANTS if isinstance(parts.get(name), BaseModel)]
        for key in ("data", "domains"):
            # The catalog reads globals and --params: `data` in a parameters file would change only the report.
            read = changed(loader["globals"].get(key, {}), (loader.runtime_params or {}).get(key, {}))
            for block in (given, *(given[name] for name in experiments)):
                if block.get(key, {}) != read:
                    used = block[key]
                    raise ParametersError(f"a parameters file sets {key} ({used}), which is for globals.yml ({read})")
        _require_weights_of_globals(given, loader["globals"].get("weights"), loader.runtime_params or {})
        current.use(Plan(main, parts))

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Raise before the first node when a part has errors, or a device is missing or full."""
        for name in run_params["pipeline_names"] or ():
            current.plan().require_sound(name)
        free_memory.cache_clear()  # in a notebook, it may have changed since the last run
        # A cluster's devices are not this machine's: its runner checks them.
        if "RayRunner" not in str(run_params.get("runner")):
            require_this_machine(pipeline, catalog)
