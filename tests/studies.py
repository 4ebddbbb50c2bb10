"""A study that was run once on tiny data, and what it left; its notebook run in this process."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import pytest
from matplotlib import pyplot as plt

from tests.project import ROOT, Project


class Study:
    """The study `name`, run with `settings` in a project of its own below `path`."""

    def __init__(self, path: Path, name: str, settings: dict[str, Any]) -> None:
        self.name, self.settings, self.project = name, settings, Project(path)
        self.project.run({name: settings}, pipeline=name)

    @cached_property
    def _catalog(self) -> Any:
        with self.project.session({self.name: self.settings}) as session:
            return session.load_context().catalog

    def load(self, dataset: str) -> Any:
        """Return the content of the dataset `<study>_<dataset>`."""
        return self._catalog.load(f"{self.name}_{dataset}")

    def facts(self, model: str) -> Any:
        """Return the facts of a model."""
        return self.load(f"{model}_checkpoint").facts

    @property
    def page(self) -> str:
        """The page, without its style."""
        return self.project.file(f"08_reporting/{self.name}_report.html").read_text(encoding="utf-8")

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the summary."""
        return self.load("summary")["rows"]

    def run_notebook(self, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[str]]:
        """Run the cells of the study's notebook; return the number of figures, and what was displayed as HTML."""
        notebook = nbformat.read(ROOT / "notebooks" / f"{self.name}.ipynb", as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert not any(cell.outputs for cell in cells), "committed with outputs"
        (self.project.path / "notebooks").mkdir(exist_ok=True)
        monkeypatch.chdir(self.project.path / "notebooks")
        displayed: list[str] = []
        scope = {"display": lambda shown: displayed.append(shown._repr_html_())}
        kedro = logging.getLogger("kedro")
        level = kedro.level
        plt.close("all")
        with mpl.rc_context({"backend": "agg"}):
            for cell in cells:
                exec(compile(cell.source, f"{self.name}.ipynb", "exec"), scope)
        kedro.setLevel(level)
        figures = len(plt.get_fignums())
        plt.close("all")
        return figures, displayed
