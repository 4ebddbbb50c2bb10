"""The project's `kedro run`: Kedro's own with another default runner, and repeats of one experiment by seed."""

import copy
from pathlib import Path
from typing import Any

import click
from fsspec.core import url_to_fs
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import settings
from kedro.utils import find_kedro_project

from knowledge_transfer.errors import RunError
from knowledge_transfer.experiment.loader import FOLDER

_DEFAULT_RUNNER = "knowledge_transfer.runners.default_runner"
_TABLES = {"bidirectional": "repeats", "heterogeneous": "heterogeneous_repeats"}
_OF_WHOLE = ("tags", "node_names", "from_nodes", "to_nodes", "from_inputs", "to_outputs", "namespaces")


@click.group(name="knowledge-transfer")
def cli() -> None:
    """Commands of this project."""


def _run(**options: Any) -> Any:
    """Run the pipelines; where `seeds` is more than 1, once for each seed, and then the tables over all of them."""
    given, pipelines = options["params"], options["pipelines"] or [options["pipeline"] or "bidirectional"]
    loader = settings.CONFIG_LOADER_CLASS(
        options["conf_source"] or str((find_kedro_project(Path.cwd()) or Path.cwd()) / settings.CONF_SOURCE),
        env=options["env"],
        runtime_params=given,
        **settings.CONFIG_LOADER_ARGS,
    )
    parameters = loader["parameters"]
    is_other = pipelines in [[name] for name in _TABLES.values()]
    # In a file, `seeds` is for the experiments alone: a study has seeds of its own.
    is_other |= "seeds" not in given and not any(name in _TABLES for name in pipelines)
    if parameters.get("seeds", 1) == 1 or is_other:
        return kedro_run.callback(**options)
    seeds, first, folder = parameters["seeds"], parameters["seed"], str(loader["globals"][FOLDER])
    _require_seeds(seeds, first, folder)
    if len(pipelines) > 1 or pipelines[0] not in _TABLES or any(options[name] for name in _OF_WHOLE):
        raise RunError(f"seeds repeats a whole experiment: --pipelines={' or '.join(_TABLES)}, without parts of it")
    for seed in range(first, first + seeds):
        own = {"seed": seed, "seeds": 1, FOLDER: f"{folder}/seed_{seed}"}
        kedro_run.callback(**{**options, "params": {**given, **own}})
    tables = {"pipeline": None, "pipelines": [_TABLES[pipelines[0]]], "only_missing_outputs": False}
    return kedro_run.callback(**{**options, **tables})


def _require_seeds(seeds: Any, first: Any, folder: str) -> None:
    """Raise RunError unless `seeds` is a number of repeats that leaves out none of those in the folder."""
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise RunError(f"seeds is the number of repeats, 1 or more, got {seeds!r}")
    system, path = url_to_fs(folder)
    there = [int(name.rpartition("_")[2]) for name in system.glob(f"{path}/seed_*") if name[-1].isdecimal()]
    if more := sorted(seed for seed in there if seed >= first + seeds):
        raise RunError(
            f"{folder}/seed_{more[-1]} is there already: set seeds to {more[-1] - first + 1} or more, or delete it"
        )


run = copy.copy(kedro_run)
run.callback = _run
run.params = [copy.copy(option) for option in kedro_run.params]
for _option in run.params:
    if _option.name == "runner":
        _option.default = _DEFAULT_RUNNER
cli.add_command(run, "run")
