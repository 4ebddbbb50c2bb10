"""What every runner of ours does around a walk, whichever crew it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner

from knowledge_transfer.runners.costs import devices_of, expected_costs, priorities
from knowledge_transfer.runners.hook_specs import announce
from knowledge_transfer.runners.reports import Crew
from knowledge_transfer.runners.scheduler import Walk

if TYPE_CHECKING:
    from pluggy import PluginManager


def run_nodes(
    runner: AbstractRunner,
    crew: Crew,
    pipeline: Pipeline,
    catalog: CatalogProtocol,
    hooks: PluginManager,
    run_id: str | None,
) -> None:
    """Run `pipeline` by `crew`, which has stopped when this is over; where it fails, say how to go on from there."""
    try:
        announce(hooks)
        walk = Walk(
            pipeline,
            catalog,
            crew,
            hooks,
            devices=devices_of(pipeline, catalog),
            priorities=priorities(pipeline, expected_costs(pipeline, catalog)),
            run_id=run_id,
            is_async=runner._is_async,
        )
        try:
            walk.go()
        except Exception:
            runner._suggest_resume_scenario(pipeline, walk.done, catalog)
            raise
    finally:
        crew.stop()
