"""Hooks by which runners report nodes of other processes to the driver, where Kedro does not call its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedro.framework.hooks.markers import hook_spec

if TYPE_CHECKING:
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node
    from pluggy import PluginManager

    from knowledge_transfer.learning.training.events import Event


class RunnerSpecs:
    """Hooks that a runner calls in the driver."""

    @hook_spec
    def on_run_started(self, pipeline: Pipeline, devices: tuple[str, ...]) -> None:
        """Note that nodes of `pipeline` are about to run in other processes, on the devices with these names."""

    @hook_spec
    def on_node_started(self, node: Node, devices: tuple[str, ...], attempt: int) -> None:
        """Note that a process runs a node on these devices, for the first time or (attempt 2) again."""

    @hook_spec
    def on_node_event(self, node: Node, event: Event) -> None:
        """Note an event of the fit of a running node."""

    @hook_spec
    def on_output_saved(self, node: Node, dataset_name: str) -> None:
        """Note that a running node has saved one of its outputs."""

    @hook_spec
    def on_node_ended(self, node: Node, devices: tuple[str, ...], status: str, error: str | None) -> None:
        """Note that a node has ended; `status` is finished, failed, or killed (it may start again)."""


def add_specs(hooks: PluginManager) -> None:
    """Add the hooks to the hook manager, once."""
    caller = getattr(hooks.hook, "on_run_started", None)
    if caller is None or not caller.has_spec():
        hooks.add_hookspecs(RunnerSpecs)
