"""What our runners tell of nodes in other processes, as hooks in the driver, where Kedro's own say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedro.framework.hooks.markers import hook_spec

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node
    from pluggy import PluginManager

    from knowledge_transfer.learning.training.events import Event


class RunnerSpecs:
    """Hooks that a runner calls in the process that was asked to run the pipeline."""

    @hook_spec
    def on_run_placed(self, pipeline: Pipeline, places: tuple[str, ...]) -> None:
        """Hear that nodes of `pipeline` are about to be run on these places."""

    @hook_spec
    def on_node_started(self, node: Node, places: tuple[str, ...], attempt: int) -> None:
        """Hear that a node has been given to a process on `places`, for the first time or (attempt 2) again."""

    @hook_spec
    def on_node_told(self, node: Node, event: Event) -> None:
        """Hear what the fit of a running node tells."""

    @hook_spec
    def on_output_saved(self, node: Node, dataset_name: str) -> None:
        """Hear that a running node has saved one of its outputs."""

    @hook_spec
    def on_node_ended(self, node: Node, places: tuple[str, ...], status: str, error: str | None) -> None:
        """Hear that a node is over; `status` is finished, failed, or killed (it may start again)."""


def announce(hooks: PluginManager) -> None:
    """Make the hooks known to the hook manager, once."""
    caller = getattr(hooks.hook, "on_run_placed", None)
    if caller is None or not caller.has_spec():
        hooks.add_hookspecs(RunnerSpecs)
