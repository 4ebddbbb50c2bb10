"""Every folder of `pipelines` by its name; plain `kedro run` runs `bidirectional`."""

from pathlib import Path

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from knowledge_transfer import settings
from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import PARTS
from knowledge_transfer.experiment.current import Plan
from knowledge_transfer.experiment.loader import ExperimentConfigLoader
from knowledge_transfer.hooks.parameters import Parts, check_parameters


def register_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines for the run's roster, or for conf/base's where there is no run (`kedro registry list`)."""
    if not current.is_set():
        parameters = _base_parameters()
        current.use(Plan(check_parameters(parameters), Parts(parameters)))
    pipelines = find_pipelines(raise_errors=True)
    for name in PARTS:
        # Kedro finds a pipeline alone when the user names it: its errors must come before a search for its nodes.
        if pipelines.keys() - {"__default__"} == {name}:
            current.plan().require_sound(name)
    if "bidirectional" in pipelines:
        pipelines["__default__"] = pipelines["bidirectional"]
    return pipelines


def _base_parameters() -> dict[str, object]:
    project = find_kedro_project(Path.cwd()) or Path(__file__).resolve().parents[2]
    loader = ExperimentConfigLoader(str(project / settings.CONF_SOURCE), **settings.CONFIG_LOADER_ARGS)
    return dict(loader["parameters"])
