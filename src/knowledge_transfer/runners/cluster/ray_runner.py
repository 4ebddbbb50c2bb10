"""The runner of a cluster: nodes are Ray tasks."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner

from knowledge_transfer.datasets.sources.registry import SOURCES
from knowledge_transfer.datasets.storage.store import without_password
from knowledge_transfer.errors import RunError
from knowledge_transfer.runners.cluster.ray_pool import RayPool
from knowledge_transfer.runners.costs import devices_of
from knowledge_transfer.runners.local.runner import DeviceSettings, refuse_unknown, require_devices
from knowledge_transfer.runners.scheduler import run_nodes

if TYPE_CHECKING:
    from pluggy import PluginManager

_PATIENCE = 10.0  # seconds, within which a cluster must answer


class RayRunner(AbstractRunner):
    """Runs every node as a Ray task; those tagged `gpu` get a GPU, or a share of one, or of the processors.

    It joins the cluster at RAY_ADDRESS or starts Ray on this machine. `shared` is a folder that all machines see at one
    path.
    """

    def __init__(self, is_async: bool = False, shared: str | None = None, **unknown: Any) -> None:
        super().__init__(is_async=is_async)
        refuse_unknown(unknown, ("shared",))
        self._shared = None if shared is None else Path(shared).resolve()

    def _get_executor(self, max_workers: int) -> Executor | None:  # noqa: ARG002
        return None

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol,
        hook_manager: PluginManager | None = None,
        run_id: str | None = None,
    ) -> None:
        if hook_manager is None:
            super()._run(pipeline, catalog, hook_manager, run_id)
            return
        with _cluster():
            pool = RayPool(DeviceSettings.of(pipeline, catalog))
            require_devices(devices_of(pipeline, catalog), pool.most_devices)
            if pool.machines > 1:
                _require_shared(pipeline, catalog, self._shared, pool.machines)
            run_nodes(self, pool, pipeline, catalog, hook_manager, run_id)


@contextmanager
def _cluster() -> Iterator[None]:
    """Use the cluster of this process, else join or start one and leave it at the end."""
    is_ours = not ray.is_initialized()
    if is_ours:
        _start_ray()
    try:
        yield
    except SystemExit as error:
        # Only SIGTERM raises this; a waiting Ray would change the exit code to 1.
        raise SystemExit(128 + signal.SIGTERM) from error
    finally:
        if is_ours:
            ray.shutdown()


def _start_ray() -> None:
    """Start Ray here, or join the cluster at RAY_ADDRESS; keep the present handler of SIGTERM."""
    handler = signal.getsignal(signal.SIGTERM)
    # By default Ray would join any cluster on this machine.
    address = os.environ.get("RAY_ADDRESS") or "local"
    _require_cluster(address)
    ray.init(address, log_to_driver=True, include_dashboard=False, configure_logging=False)
    if threading.current_thread() is threading.main_thread():
        # Ray's own handler aborts: MLflow runs and tasks would not end.
        signal.signal(signal.SIGTERM, handler)


def _require_cluster(address: str) -> None:
    """Raise RunError if no cluster answers at host:port; Ray itself would wait for minutes."""
    host, _, port = address.partition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise RunError(
            f"no Ray cluster answers at {address} (RAY_ADDRESS): {error}; start one there with `ray start --head`, or "
            "unset RAY_ADDRESS to run on this machine"
        ) from error


def _require_shared(pipeline: Pipeline, catalog: CatalogProtocol, shared: Path | None, machines: int) -> None:
    """Raise RunError if a dataset or MLflow is on a disk that only one machine has."""
    for name in sorted(pipeline.datasets()):
        dataset = catalog.get(name)
        described = {} if dataset is None or name.startswith("param") else dataset._describe()
        # Bundled and synthetic images are in no file; their dataset still has a path.
        source = SOURCES.get(described.get("source", ""))
        has_no_file = source is not None and not source.has_folder
        path = str(described.get("filepath") or ("" if has_no_file else described.get("path")) or "")
        if path and "://" not in path and not _is_below(path, shared):
            raise RunError(
                f"{name} is {path}, on the disk of this machine; the cluster has {machines}. Set `folder` in "
                "globals.yml to an address of all machines (s3://…), or name a folder that all have at the same path: "
                "--runner-params=shared=/path"
            )
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    is_file = not uri or uri.startswith(("sqlite:", "file:")) or "://" not in uri
    if is_file and not _is_below(uri.removeprefix("sqlite:///").removeprefix("file://"), shared):
        raise RunError(
            f"MLflow at {without_password(uri) or 'mlflow.db'} is a file of this machine; the cluster has {machines}: "
            "start `mlflow server` and set MLFLOW_TRACKING_URI to its address"
        )


def _is_below(path: str, folder: Path | None) -> bool:
    return folder is not None and Path(path).resolve().is_relative_to(folder)
