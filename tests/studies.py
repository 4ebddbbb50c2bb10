"""A study that was run once on tiny data, and what it left."""

from functools import cached_property
from typing import Any

import pytest

from tests.project import Project


class Study:
    """The study `name`, run with `settings` in `project`."""

    def __init__(self, run_once: Any, name: str, settings: dict[str, Any], *, tracked: bool = False) -> None:
        self.name, self.settings = name, settings
        self.project: Project = run_once(
            name, lambda project: project.run({name: settings}, pipeline=name, tracked=tracked)
        )

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

    def run_notebook(self, monkeypatch: pytest.MonkeyPatch) -> int:
        """Run the study's notebook in this process; return the number of its figures."""
        return self.project.run_notebook(self.name, monkeypatch)[0]
