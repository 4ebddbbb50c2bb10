"""The project's `kedro run`: Kedro's own with another default runner."""

import copy

import click
from kedro.framework.cli.project import run as kedro_run

_DEFAULT_RUNNER = "knowledge_transfer.runners.default_runner"


@click.group(name="knowledge-transfer")
def cli() -> None:
    """Commands of this project."""


run = copy.copy(kedro_run)
run.params = [copy.copy(option) for option in kedro_run.params]
for _option in run.params:
    if _option.name == "runner":
        _option.default = _DEFAULT_RUNNER
cli.add_command(run, "run")
