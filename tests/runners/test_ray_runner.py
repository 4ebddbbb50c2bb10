"""Nodes as tasks of a Ray cluster: two machines with two GPUs each, all of them pretended."""

import gc
import signal
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro_datasets.json import JSONDataset

from knowledge_transfer.datasets import PublishedImagesDataset
from knowledge_transfer.errors import RunError
from knowledge_transfer.runners.scheduler import NodeError
from tests.project import ROOT
from tests.runners.nodes import Door, die_once, double, gpu, meet, run, visible
from tests.runners.test_device_runner import Ended

ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")

# The warnings are Ray's own, of sockets and files that it leaves to the collector.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # Tasks find what these tests define as this process does.
        patch.setenv("PYTHONPATH", f"{ROOT}:{ROOT}/src")
        two = cluster_utils.Cluster(
            initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 2, "include_dashboard": False}
        )
        two.add_node(num_cpus=2, num_gpus=2)
        ray.init(address=two.address, log_to_driver=False)
        yield
        ray.shutdown()
        two.shutdown()
    del two
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray leaves its log files to the collector
        gc.collect()


def ray_runner(**options: Any) -> Any:
    from knowledge_transfer.runners import RayRunner

    return RayRunner(**options)


@pytest.fixture
def door(cluster: None) -> Iterator[Door]:
    door = Door()
    yield door
    door.listener.close()


def test_students_share_two_machines_and_a_fifth_waits(door: Door) -> None:
    ended = Ended()
    catalog = DataCatalog({"door": MemoryDataset(door.address)})
    pipeline = Pipeline([gpu(meet, "door", f"student{number}") for number in range(5)])
    thread = door.start(pipeline, catalog, ray_runner(shared="/"), ended)
    inside = [door.accept() for _ in range(4)]
    assert sorted(devices for _, _, devices in inside) == ["0", "0", "1", "1"]
    assert not door.is_anyone_waiting()
    inside.pop()[0].send("go")
    inside.append(door.accept())
    for connection, _, _ in inside:
        connection.send("go")
    thread.join()
    assert door.error is None
    used = {devices for _, devices, _ in ended.all}
    assert used == {(f"node{machine}/cuda:{number}",) for machine in (1, 2) for number in (0, 1)}


def test_data_passes_the_store_and_tables_no_gpu(cluster: None) -> None:
    pipeline = Pipeline(
        [gpu(double, "two", "four"), gpu(double, "four", "eight"), node(visible, "eight", "seen", name="look")]
    )
    assert run(pipeline, DataCatalog({"two": MemoryDataset(2)}), ray_runner(shared="/")) == {"seen": ""}


def test_a_killed_task_is_retried_an_error_named(cluster: None, tmp_path: Path) -> None:
    ended = Ended()
    datasets = {"flag": MemoryDataset(str(tmp_path / "flag")), "signal": MemoryDataset(int(signal.SIGKILL))}
    pipeline = Pipeline([gpu(die_once, ["flag", "signal"], "student")])
    assert run(pipeline, DataCatalog(datasets), ray_runner(shared="/"), ended) == {"student": "lived"}
    assert [status for _, _, status in ended.all] == ["killed", "finished"]
    with pytest.raises(NodeError, match=r"student on node./cuda:. failed: TypeError"):
        run(
            Pipeline([gpu(double, "none", "student")]), DataCatalog({"none": MemoryDataset({})}), ray_runner(shared="/")
        )


def test_an_address_without_a_cluster_is_refused() -> None:
    from knowledge_transfer.runners.cluster.ray_runner import _require_cluster

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        _require_cluster(address)
    with pytest.raises(RunError, match=rf"no Ray cluster answers at {address} \(RAY_ADDRESS\).*`ray start --head`"):
        _require_cluster(address)
    _require_cluster("local")


@pytest.mark.parametrize(("machines", "processors", "asked"), [(6, 16, 16), (5, 4, 4), (1, 16, 4)])
def test_no_task_asks_for_too_many_processors(
    cluster: None, monkeypatch: pytest.MonkeyPatch, machines: int, processors: int, asked: int
) -> None:
    from knowledge_transfer.runners.cluster.ray_pool import RayPool
    from knowledge_transfer.runners.local.runner import DeviceSettings

    alive = [
        {"NodeID": f"{number}", "Alive": True, "Resources": {"CPU": float(processors)}} for number in range(machines)
    ]
    monkeypatch.setattr(ray, "nodes", lambda: alive)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": float(machines * processors)})
    pool = RayPool(DeviceSettings())
    assert pool._threads == asked
    assert pool.devices == (("cpu",) if machines == 1 else tuple(f"node{number + 1}/cpu" for number in range(machines)))
    pool.stop()


def test_a_run_names_devices_as_tasks_do(cluster: None) -> None:
    ended = Ended()
    run(Pipeline([gpu(visible, None, "seen")]), DataCatalog(), ray_runner(shared="/"), ended)
    (devices,) = ended.started_on
    assert devices == ("node1/cuda:0", "node1/cuda:1", "node2/cuda:0", "node2/cuda:1")
    assert ended.all[0][1][0] in devices


@pytest.mark.parametrize("devices", [3, 5])
def test_more_gpus_than_a_machine_are_refused(cluster: None, devices: int) -> None:
    large = gpu(visible, ["params:target"], "large", "train_large", "training")
    catalog = DataCatalog({"params:target": MemoryDataset({"devices": devices})})
    with pytest.raises(RunError, match=f"computes on {devices} devices .* this run has 2"):
        run(Pipeline([large]), catalog, ray_runner(shared="/"))


def test_a_local_file_is_refused_on_two_machines(cluster: None, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    catalog = DataCatalog({"stored": JSONDataset(filepath=str(tmp_path / "stored.json"))})
    pipeline = Pipeline([gpu(visible, None, "stored")])
    with pytest.raises(RunError, match=r"stored is .*stored.json, on the disk of this machine; the cluster has 2"):
        run(pipeline, catalog, ray_runner())
    run(pipeline, catalog, ray_runner(shared=str(tmp_path)))
    assert catalog.load("stored") in ("0", "1")
    folder = PublishedImagesDataset(source="folder", path=str(tmp_path), image_size=32, split="train")
    embedded = PublishedImagesDataset(source="shapes", path="data/01_raw", image_size=32, split="train")
    for images, words in ((folder, "images is .*, on the disk"), (embedded, None)):
        catalog = DataCatalog({"images": images})
        if words:
            with pytest.raises(RunError, match=words):
                run(Pipeline([gpu(visible, "images", "seen")]), catalog, ray_runner())
        else:
            run(Pipeline([gpu(visible, "images", "seen")]), catalog, ray_runner())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:secret@db/mlflow")
    run(Pipeline([gpu(visible, None, "seen")]), DataCatalog(), ray_runner())
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(RunError, match="start `mlflow server` and set MLFLOW_TRACKING_URI"):
        run(Pipeline([gpu(visible, None, "seen")]), DataCatalog(), ray_runner())
