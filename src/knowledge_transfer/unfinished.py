"""Fits that are cut short go on: where their snapshots lie, and when they count."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from knowledge_transfer.datasets.store import Store
from knowledge_transfer.learning import snapshots
from knowledge_transfer.progress import file_of

_EVERY, _SECONDS = "KNOWLEDGE_TRANSFER_SNAPSHOT_SECONDS", 30.0  # at least, between two snapshots of a fit


class UnfinishedHooks:
    """Keeps the last epoch of every fit beside its checkpoint-to-be, until it is there.

    A node that is tried again goes on from it, and so does a run with `--only-missing-outputs`. Any other run starts
    afresh: between two runs the code may have changed, which no snapshot could tell.
    """

    def __init__(self) -> None:
        self._open: dict[str, ExitStack] = {}

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Forget what earlier runs have left, unless this one goes on from it."""
        if not run_params.get("only_missing_outputs"):
            for node in pipeline.nodes:
                if store := _store_of(node, catalog):
                    store.delete()

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        """Let the fit of a training node keep snapshots."""
        if store := _store_of(node, catalog):
            self._open[node.name] = stack = ExitStack()
            stack.enter_context(snapshots.kept_in(store, every=float(os.environ.get(_EVERY, _SECONDS))))

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Leave nothing to the next node of this process."""
        self._close(node)

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Leave nothing to the next node of this process."""
        self._close(node)

    def _close(self, node: Node) -> None:
        if stack := self._open.pop(node.name, None):
            stack.close()


@dataclass(frozen=True)
class _SnapshotFile:
    """A snapshot at an address of files."""

    address: Store

    def read(self) -> bytes | None:
        return self.address.read() if self.address.exists() else None

    def write(self, content: bytes) -> None:
        self.address.write(content)

    def delete(self) -> None:
        if self.address.exists():
            self.address.system.rm_file(str(self.address.path))


def _store_of(node: Node, catalog: CatalogProtocol) -> _SnapshotFile | None:
    """Return where the fit of a training node keeps its snapshot; none where its checkpoint is not in a file."""
    if "training" not in node.tags:
        return None
    checkpoint = next((name for name in node.outputs if name.endswith("_checkpoint")), None)
    file = None if checkpoint is None else file_of(catalog, checkpoint)
    return None if file is None else _SnapshotFile(file.beside(".unfinished"))
