"""The runner of a cluster, and the one place that names Ray: nodes are tasks, data in memory is in the object store."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner

from knowledge_transfer.datasets.sources.registry import SOURCES
from knowledge_transfer.datasets.storage.store import without_password
from knowledge_transfer.errors import RunError
from knowledge_transfer.runners.costs import devices_of
from knowledge_transfer.runners.frame import run_nodes
from knowledge_transfer.runners.local.runner import device_settings, refuse_unknown, require_devices
from knowledge_transfer.runners.messages import Order, Setting
from knowledge_transfer.runners.reports import Report, Started
from knowledge_transfer.runners.worker import PLACE, Done, Failed, Killed, execute, prepare

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray 2.60 hides all GPUs of tasks that ask for none only if told so; it warns where it is not.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")

try:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as _error:
    raise RunError('RayRunner needs Ray: pip install "knowledge-transfer[cluster]"') from _error

if TYPE_CHECKING:
    from pluggy import PluginManager

_PATIENCE = 10.0  # seconds for a cluster to answer at all
_POLL = 0.5  # seconds between looks at what running nodes have told


class RayRunner(AbstractRunner):
    """Runs every node as a Ray task: those tagged `gpu` ask for a GPU, or for a share of one, the others see none.

    It joins the cluster at RAY_ADDRESS, or one that this process has joined before; else Ray is started on this machine
    and stopped afterwards. Where the cluster has no GPU, nodes that would ask for one share the processors. `shared` is
    a folder that every machine of the cluster sees at the same path.
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
        is_ours = not ray.is_initialized()
        if is_ours:
            _start_ray()
        try:
            crew = RayCrew(device_settings(pipeline, catalog))
            require_devices(devices_of(pipeline, catalog), crew.largest)
            if crew.machines > 1:
                require_shared(pipeline, catalog, self._shared, crew.machines)
            run_nodes(self, crew, pipeline, catalog, hook_manager, run_id)
        except SystemExit as error:
            # Only SIGTERM ends a run so. Where it comes while Ray waits, Ray makes 1 of whatever its handler said.
            raise SystemExit(128 + signal.SIGTERM) from error
        finally:
            if is_ours:
                ray.shutdown()


def _start_ray() -> None:
    """Start Ray here, or join the cluster at RAY_ADDRESS; SIGTERM stays with whoever handled it."""
    handler = signal.getsignal(signal.SIGTERM)
    # Told nothing, it would join whatever cluster somebody has on this machine, and end with that.
    address = os.environ.get("RAY_ADDRESS") or "local"
    _require_cluster(address)
    ray.init(address, log_to_driver=True, include_dashboard=False, configure_logging=False)
    if threading.current_thread() is threading.main_thread():
        # Ray's own, beneath that of Python, aborts: runs would be left unfinished in MLflow, tasks at work.
        signal.signal(signal.SIGTERM, handler)


def _require_cluster(address: str) -> None:
    """Raise RunError when nobody answers at an address of the form host:port: Ray itself would ask for minutes."""
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


class RayCrew:
    """Tasks of a cluster; as many at once as it has devices, so that the most urgent go first here, too."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        alive = [each for each in ray.nodes() if each["Alive"]]
        self.machines = len(alive)
        self._names = {each["NodeID"]: f"node{number}" for number, each in enumerate(alive, 1)}
        resources = ray.cluster_resources()
        gpus, processors = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        choice = settings["devices"]
        if choice not in ("auto", "cuda", "cpu"):
            raise RunError(f"devices is '{choice}': on a cluster Ray gives devices out, set devices to auto or cpu")
        if choice == "cuda" and not gpus:
            raise RunError("devices is 'cuda', the cluster has no GPU: set devices to auto")
        self._on_gpus = gpus > 0 and choice != "cpu"
        self._per_device = settings["per_device"] if self._on_gpus else 1
        self.devices = gpus if self._on_gpus else max(1, min(processors, 4))
        # What a node asks for must be on one machine: Ray waits for ever for more.
        per_machine = (int(each["Resources"].get("GPU", 0)) for each in alive)
        self.largest = max(per_machine, default=0) if self._on_gpus else self.devices
        # Of a machine that has less, Ray would wait for ever.
        smallest = min((cpus for each in alive if (cpus := int(each["Resources"].get("CPU", 0)))), default=1)
        self._threads = max(1, min(processors // self.devices, smallest))
        self.places = self._every_place(alive)
        self._free = float(self.devices)
        self._clerk_is_free = True
        self._orders: dict[Any, Order] = {}
        self._stores: dict[Any, list[Any]] = {}
        # On the driver's machine, whose end is the run's anyway: not that of any other. Ray ends it with the last who
        # holds it: nothing is left of a crew whose run is refused.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = ray.remote(num_cpus=0, scheduling_strategy=here)(_Board).remote()
        self._setting = Setting.present()

    def _every_place(self, alive: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        """Return how tasks on each device are told; of machines where nodes compute on processors."""
        if not self._on_gpus:
            return tuple(self._placed(_At(each["NodeID"], ("cpu",))).places[0] for each in alive)
        counts = {each["NodeID"]: int(each["Resources"].get("GPU", 0)) for each in alive}
        return tuple(
            self._placed(_At(machine, (f"cuda:{number}",))).places[0]
            for machine, count in counts.items()
            for number in range(count)
        )

    def has_room(self, devices: int) -> bool:
        """Return whether so many devices of the cluster are not in use by this run; for 0, whether no such node is."""
        return self._free + 1e-9 >= self._share(devices) if devices else self._clerk_is_free

    def start(self, order: Order) -> tuple[str, ...]:
        """Submit the order; where it runs is told once it does. Raises whatever pickling raises."""
        refs = {name: data for name, data in order.memory.items() if isinstance(data, ray.ObjectRef)}
        values = {name: data for name, data in order.memory.items() if name not in refs}
        data = pickle.dumps(Order(**{**vars(order), "memory": values}))
        share = self._share(order.devices)
        options: dict[str, Any] = {
            "num_cpus": self._threads * order.devices if order.devices and not self._on_gpus else 1
        }
        if order.devices and self._on_gpus:
            options["num_gpus"] = share
        # On a device, a process of its own: Ray would use it again with other devices than those that torch has seen.
        # And tried again by the walk, which says so.
        task = ray.remote(max_calls=1 if order.devices else 0, max_retries=0, **options)(_run_order)
        results = task.options(num_returns=1 + len(order.returned)).remote(
            self._setting, data, self._board, order.node.name, tuple(refs), *refs.values()
        )
        first, *stores = results if order.returned else [results]
        self._orders[first], self._stores[first] = order, stores
        if order.devices:
            self._free -= share
        else:
            self._clerk_is_free = False
        return ()

    def expect(self, nodes: int) -> None:
        """Ray keeps processes as it likes."""

    def reports(self) -> Sequence[Report]:
        """Wait until a task has told something or ended; return what that means."""
        ended, _ = ray.wait(list(self._orders), timeout=_POLL) if self._orders else ([], [])
        by_name = {order.node.name: order for order in self._orders.values()}
        found = [
            Report(by_name[name], self._placed(what) if isinstance(what, _At) else what)
            for name, what in ray.get(self._board.take.remote())
            if name in by_name
        ]
        for first in ended:
            order, stores = self._orders.pop(first), self._stores.pop(first)
            if order.devices:
                self._free += self._share(order.devices)
            else:
                self._clerk_is_free = True
            what = _outcome(first)
            if isinstance(what, Done):
                what = Done(dict(zip(order.returned, stores, strict=True)))
            found.append(Report(order, what))
        return found

    def fetch(self, kept: Any) -> Any:
        """Return the data behind an object of the store."""
        return ray.get(kept) if isinstance(kept, ray.ObjectRef) else kept

    def stop(self) -> None:
        """Cancel every task that still runs."""
        for first in self._orders:
            ray.cancel(first, force=True)
        if self._orders:
            ray.wait(list(self._orders), num_returns=len(self._orders), timeout=5)
        self._orders.clear()
        ray.kill(self._board)

    def _share(self, devices: int) -> float:
        return devices / self._per_device if devices == 1 else float(devices)

    def _placed(self, at: _At) -> Started:
        machine = f"{self._names.get(at.node_id, at.node_id[:6])}/" if self.machines > 1 else ""
        return Started(tuple(f"{machine}{device}" for device in at.devices))


class _At:
    """Where a task runs."""

    def __init__(self, node_id: str, devices: tuple[str, ...]) -> None:
        self.node_id, self.devices = node_id, devices


class _Board:
    """An actor on which tasks write what they have to tell, until the driver takes it."""

    def __init__(self) -> None:
        self._told: list[tuple[str, Any]] = []

    def tell(self, node: str, what: bytes) -> None:
        """Add what a node tells."""
        self._told.append((node, pickle.loads(what)))  # noqa: S301 - our own task said it

    def take(self) -> list[tuple[str, Any]]:
        """Return what has been told since the last time."""
        told, self._told = self._told, []
        return told


def _run_order(setting: Setting, data: bytes, board: Any, node: str, names: tuple[str, ...], *values: Any) -> Any:
    """Run an order in a task; return its outcome and, apart, each output that stays in the object store."""
    devices = tuple(f"cuda:{number}" for number in ray.get_gpu_ids())
    if not devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ[PLACE] = ", ".join(devices) or "cpu"

    def tell(what: object) -> None:
        ray.get(board.tell.remote(node, pickle.dumps(what)))

    tell(_At(ray.get_runtime_context().get_node_id(), devices or ("cpu",)))
    prepare(setting)
    order: Order = pickle.loads(data)  # noqa: S301 - our own driver sent it
    order = Order(**{**vars(order), "memory": {**order.memory, **dict(zip(names, values, strict=True))}})
    outcome = execute(order, tell)
    if not order.returned:
        return outcome
    outputs = outcome.outputs if isinstance(outcome, Done) else dict.fromkeys(order.returned)
    return (Done({}) if isinstance(outcome, Done) else outcome, *(outputs[name] for name in order.returned))


def _outcome(first: Any) -> Done | Failed | Killed:
    try:
        return ray.get(first)
    except ray.exceptions.RayTaskError as error:
        return Failed(str(error.cause), str(error), is_user_error=False)
    except ray.exceptions.RayError as error:
        return Killed(f"was killed ({type(error).__name__})")


def require_shared(pipeline: Pipeline, catalog: CatalogProtocol, shared: Path | None, machines: int) -> None:
    """Raise RunError, naming one, when a dataset or the tracked runs are on a disk that only one machine has."""
    for name in sorted(pipeline.datasets()):
        dataset = catalog.get(name)
        described = {} if dataset is None or name.startswith("param") else dataset._describe()
        # Embedded and drawn images are at no path, though they are told one.
        source = SOURCES.get(described.get("source", ""))
        is_embedded = source is not None and not source.has_folder
        path = str(described.get("filepath") or ("" if is_embedded else described.get("path")) or "")
        if path and "://" not in path and not _is_below(path, shared):
            raise RunError(
                f"{name} is {path}, on the disk of this machine; the cluster has {machines}. Set `folder` in "
                "globals.yml to an address that all see (s3://…), or name the folder that all see at the same path: "
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
