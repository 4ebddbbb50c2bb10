"""The files of the snapshots from which an interrupted fit resumes."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from knowledge_transfer.datasets.storage.store import Store, file_of
from knowledge_transfer.errors import RunError
from knowledge_transfer.learning.training import resume

_EVERY, _SECONDS = "KNOWLEDGE_TRANSFER_SNAPSHOT_SECONDS", 30.0  # the least between two snapshots of a fit


class SnapshotHooks:
    """Writes the last epoch of every fit beside its future checkpoint; deletes it once the checkpoint is saved.

    A second attempt at a node resumes from it, and so does a run with `--only-missing-outputs`. Any other run starts
    afresh, because the code may have changed.
    """

    def __init__(self) -> None:
        self._open: dict[str, ExitStack] = {}
        self._stores: dict[str, _SnapshotFile] = {}  # by checkpoint, until that is safe
        self._outdated: list[_SnapshotFile] = []

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Note the snapshots of earlier runs, which are deleted unless this run resumes."""
        _seconds()
        resumes = run_params.get("only_missing_outputs")
        stores = () if resumes else (_store_of(node, catalog) for node in pipeline.nodes)
        self._outdated = [store for store in stores if store]

    @hook_impl
    def on_run_started(self) -> None:
        """Delete them, because the runner has accepted the run."""
        self._delete_outdated()

    @hook_impl
    def before_node_run(self, node: Node, catalog: CatalogProtocol) -> None:
        """Write snapshots of the fit of a training node."""
        self._delete_outdated()
        if store := _store_of(node, catalog):
            self._stores[_checkpoint_of(node)] = store
            self._open[node.name] = stack = ExitStack()
            stack.enter_context(resume.snapshot_to(store, every=_seconds()))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Delete the snapshot of a fit whose checkpoint is saved."""
        if store := self._stores.pop(dataset_name, None):
            store.delete()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Write no more snapshots: the next node of this process is another fit."""
        if stack := self._open.pop(node.name, None):
            stack.close()

    on_node_error = after_node_run

    def _delete_outdated(self) -> None:
        while self._outdated:
            self._outdated.pop().delete()


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
    """Return the snapshot of a training node, none if its checkpoint is not in a file."""
    if "training" not in node.tags:
        return None
    checkpoint = _checkpoint_of(node)
    file = file_of(catalog, checkpoint) if checkpoint else None
    return None if file is None else _SnapshotFile(file.beside(".snapshot"))


def _checkpoint_of(node: Node) -> str:
    """Return the name of the checkpoint that a node makes, the empty string where it makes none."""
    return next((name for name in node.outputs if name.endswith("_checkpoint")), "")


def _seconds() -> float:
    """Return the least number of seconds between two snapshots. Raises RunError if it is not a number."""
    given = os.environ.get(_EVERY, _SECONDS)
    try:
        return float(given)
    except ValueError:
        raise RunError(f"{_EVERY} is a number of seconds, got '{given}'") from None
