"""A copy of the project's configuration in a folder of its own, run through Kedro on tiny data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.runner import SequentialRunner

ROOT = Path(__file__).parents[1]

_RECIPE = {"epochs": 2, "batch_size": 32, "precision": "fp32"}
TINY: dict[str, Any] = {
    "data_preparation": {"limit": 240, "test_limit": 60},
    "students": {
        name: {"architecture": {"kind": name, "width": 0.125}}
        for name in ("simple_cnn", "resnet8", "resnet50", "squeezenet")
    },
    "target": {"architecture": {"width": 0.125}},
    "student_training": {"recipe": _RECIPE},
    "target_distillation": {"recipe": _RECIPE},
    "reverse_distillation": {"recipe": _RECIPE},
    "heterogeneous": {"target_distillation": {"recipe": {"epochs": _RECIPE["epochs"]}}},
}


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

    def run(self, params: dict[str, Any] | None = None, pipeline: str = "bidirectional", **options: Any) -> None:
        """Run a pipeline with these runtime parameters over `TINY`."""
        with self.session(merged(TINY, params or {})) as session:
            session.run(pipeline_names=[pipeline], runner=SequentialRunner(), **options)

    def file(self, name: str) -> Path:
        """Return a path below `data`."""
        return self.path / "data" / name


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` applied, nested mappings key by key."""
    both = dict(base)
    for key, value in changes.items():
        both[key] = merged(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return both
