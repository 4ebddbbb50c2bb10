"""The project's `kedro run`: Kedro's own with another default runner, and repeats of one experiment by seed."""

import copy
import pkgutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from fsspec.core import url_to_fs
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import settings
from kedro.utils import find_kedro_project

from knowledge_transfer import pipelines as pipeline_folders
from knowledge_transfer.errors import RunError
from knowledge_transfer.experiment.loader import FOLDER
from knowledge_transfer.learning.config import did_you_mean

# Not through Kedro, which imports every pipeline for that.
_PIPELINES = [module.name for module in pkgutil.iter_modules(pipeline_folders.__path__)]
_DEFAULT_RUNNER = "knowledge_transfer.runners.default_runner"
_TABLES = {"bidirectional": "repeats", "heterogeneous": "heterogeneous_repeats"}
_OF_WHOLE = ("tags", "node_names", "from_nodes", "to_nodes", "from_inputs", "to_outputs", "namespaces")


@click.group(name="knowledge-transfer")
def cli() -> None:
    """Commands of this project."""


def _run(**options: Any) -> Any:
    """Run the pipelines; where `seeds` is more than 1, once for each seed, and then the tables over all of them."""
    given, pipelines = options["params"], options["pipelines"] or [options["pipeline"] or "bidirectional"]
    conf = options["conf_source"] or str((find_kedro_project(Path.cwd()) or Path.cwd()) / settings.CONF_SOURCE)
    if (folders := Path(conf)).is_dir():  # it may be an archive, or at an address
        environments = [each.name for each in folders.iterdir() if each.is_dir()]
        _require_known("environment", [options["env"] or "base"], environments)
    _require_known("pipeline", pipelines, [*_PIPELINES, "__default__"])
    loader = settings.CONFIG_LOADER_CLASS(
        conf,
        env=options["env"],
        runtime_params=given,
        **settings.CONFIG_LOADER_ARGS,
    )
    parameters, folder = loader["parameters"], loader["globals"].get(FOLDER)
    if not isinstance(folder, str) or not folder.strip():
        raise RunError(f"folder is where results go, such as data, got {folder!r}: set it in globals.yml or --params")
    is_other = pipelines in [[name] for name in _TABLES.values()]
    # In a file, `seeds` is for the experiments alone: a study has seeds of its own.
    is_other |= "seeds" not in given and not any(name in _TABLES for name in pipelines)
    if parameters.get("seeds", 1) == 1 or is_other:
        return _started(options)
    seeds, first = parameters["seeds"], parameters["seed"]
    _require_seeds(seeds, first, folder)
    if len(pipelines) > 1 or pipelines[0] not in _TABLES or any(options[name] for name in _OF_WHOLE):
        raise RunError(f"seeds repeats a whole experiment: --pipelines={' or '.join(_TABLES)}, without parts of it")
    for seed in range(first, first + seeds):
        own = {"seed": seed, "seeds": 1, FOLDER: f"{folder}/seed_{seed}"}
        kedro_run.callback(**{**options, "params": {**given, **own}})
    tables = {"pipeline": None, "pipelines": [_TABLES[pipelines[0]]], "only_missing_outputs": False}
    return kedro_run.callback(**{**options, **tables})


def _started(options: dict[str, Any]) -> Any:
    """Run Kedro's own command. Raises RunError, in one line, for parts of a pipeline that are not there."""
    try:
        return kedro_run.callback(**options)
    except ValueError as error:
        if not str(error).startswith(("Pipeline does not contain", "Pipeline contains no nodes")):
            raise
        raise RunError(f"{error} `kedro registry describe NAME` lists the nodes of a pipeline") from error


def _require_known(what: str, names: Iterable[str], known: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise RunError(f"there is no {what} '{unknown[0]}'{did_you_mean(unknown[0], known)}")


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
