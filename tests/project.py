"""A copy of the project's configuration in a folder of its own, run through Kedro on tiny data."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import pytest
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import AbstractRunner, SequentialRunner
from matplotlib import pyplot as plt
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from knowledge_transfer.datasets import CheckpointDataset, ImageSetDataset
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.tracking import MlflowHooks

ROOT = Path(__file__).parents[1]

STUDENTS = ("simple_cnn", "resnet8", "squeezenet")
_RECIPE = {"epochs": 2, "min_steps": 0, "batch_size": 32, "precision": "fp32"}
TINY: dict[str, Any] = {
    "data_preparation": {"limit": 240, "test_limit": 60},
    # Without resnet50, which takes longer than all others.
    "students": {
        **{name: {"architecture": {"kind": name, "width": 0.125}} for name in STUDENTS},
        "resnet50": None,
    },
    "target": {"architecture": {"width": 0.125}},
    "student_training": {"recipe": _RECIPE},
    "target_distillation": {"recipe": _RECIPE},
    "reverse_distillation": {"recipe": _RECIPE},
    "heterogeneous": {"target_distillation": {"recipe": {"epochs": _RECIPE["epochs"]}}},
}
EVERY_ARM = {"evaluation": {"controls": True}}


class Project:
    """The project at `path`, which reads and writes nothing outside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(ROOT / "conf", path / "conf", ignore=shutil.ignore_patterns("local"))
        (path / "conf" / "local").mkdir()
        (path / "src").mkdir()
        shutil.copy(ROOT / "pyproject.toml", path)

    @classmethod
    def at(cls, path: Path) -> Project:
        """Return the project that is at `path` already."""
        project = cls.__new__(cls)
        project.path = path
        return project

    def session(self, params: dict[str, Any] | None = None, env: str | None = None) -> KedroSession:
        """Return a session with these runtime parameters."""
        bootstrap_project(self.path)
        configure_project("knowledge_transfer")
        return KedroSession.create(self.path, env=env, runtime_params=params)

    def run(
        self,
        params: dict[str, Any] | None = None,
        pipeline: str = "bidirectional",
        runner: AbstractRunner | None = None,
        *,
        tracked: bool = False,
        **options: Any,
    ) -> None:
        """Run a pipeline with these runtime parameters over `TINY`; in MLflow, which takes longer, where `tracked`."""
        with self.session(merged(TINY, params or {})) as session:
            hooks = session._hook_manager
            for hook in [each for each in hooks.get_plugins() if isinstance(each, MlflowHooks) and not tracked]:
                hooks.unregister(hook)
            session.run(pipeline_names=[pipeline], runner=runner or SequentialRunner(), **options)

    def file(self, name: str) -> Path:
        """Return a path below `data`."""
        return self.path / "data" / name

    def copy(self, path: Path) -> Project:
        """Return a project at `path` in which the same has been made."""
        copy = Project(path)
        shutil.copytree(self.path / "data", path / "data")
        return copy

    def checkpoint(self, name: str) -> Checkpoint:
        """Return a trained model."""
        return CheckpointDataset(filepath=str(self.file(f"06_models/{name}.safetensors"))).load()

    def images(self, name: str) -> ImageSet:
        """Return an image set."""
        return ImageSetDataset(filepath=str(self.file(f"05_model_input/{name}_images.safetensors"))).load()

    def report(self, name: str) -> Any:
        """Return the content of a JSON file of the reports."""
        return json.loads(self.file(f"08_reporting/{name}.json").read_text())

    def mlflow_runs(self, name: str) -> tuple[MlflowClient, list[Run], list[Run]]:
        """Return the client, the runs of the pipeline, and those of its models."""
        client = MlflowClient(f"sqlite:///{self.path / 'mlflow.db'}")
        (experiment,) = [each for each in client.search_experiments() if each.name == name]
        runs = client.search_runs([experiment.experiment_id])
        children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
        return client, [run for run in runs if run not in children], children

    def run_notebook(self, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
        """Run the cells of a notebook in this process; return the number of figures, and what is shown as HTML."""
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert not any(cell.outputs for cell in cells), "committed with outputs"
        (self.path / "notebooks").mkdir(exist_ok=True)
        monkeypatch.chdir(self.path / "notebooks")
        displayed: list[str] = []
        scope = {"display": lambda shown: displayed.append(shown._repr_html_())}
        kedro = logging.getLogger("kedro")
        level = kedro.level
        plt.close("all")
        with mpl.rc_context({"backend": "agg"}):
            for cell in cells:
                exec(compile(cell.source, f"{name}.ipynb", "exec"), scope)
        kedro.setLevel(level)
        figures = len(plt.get_fignums())
        plt.close("all")
        return figures, displayed


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` applied, nested mappings key by key."""
    both = dict(base)
    for key, value in changes.items():
        both[key] = merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return both
