"""The experiment where everything that stages exchange lies at an address that is no local path."""

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from fsspec import AbstractFileSystem
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro_datasets.json import JSONDataset

from knowledge_transfer.datasets import ImageSetDataset
from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.experiment.loader import whole_address
from knowledge_transfer.hooks import resume
from knowledge_transfer.hooks.resume import ResumeHooks
from knowledge_transfer.tracking.runs import Run
from tests.bucket import KEY, Bucket
from tests.conftest import stripes
from tests.project import Project

ONE_STUDENT = {
    "students": {"simple_cnn": None, "resnet50": None, "squeezenet": None},
    "evaluation": {"controls": False},
    "student_training": {"recipe": {"epochs": 1}},
}


@pytest.fixture
def memory() -> Iterator[AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    if system.exists("/experiment"):
        system.rm("/experiment", recursive=True)


def test_the_whole_experiment(memory: AbstractFileSystem, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = Project(tmp_path / "project")
    (project.path / "conf" / "local" / "globals.yml").write_text("folder: memory://experiment")
    project.run(ONE_STUDENT, tracked=True)
    assert b"<html" in memory.cat_file("/experiment/08_reporting/report.html")
    rows = json.loads(memory.cat_file("/experiment/08_reporting/summary.json"))["rows"]
    assert {row["stage"] for row in rows} == {"before", "after", "ensemble", "target", "taught"}
    assert not project.file("").exists(), "nothing of it is on this machine"
    places = capsys.readouterr().out.splitlines()[-3:]
    assert places[:2] == [
        "report       memory:///experiment/08_reporting/report.html",
        "checkpoints  memory:///experiment/06_models",
    ]
    logged = {file.name for file in (project.path / "mlartifacts").rglob("*") if file.is_file()}
    assert {"report.html", "summary.json", "learning_curves.png"} <= logged

    made = what_lies_in(memory)
    project.run(ONE_STUDENT, only_missing_outputs=True)
    assert what_lies_in(memory) == made

    weights = "/experiment/06_models/resnet8_round0.safetensors"
    memory.store[weights].modified = datetime(2000, 1, 1)
    project.run(ONE_STUDENT, only_missing_outputs=True)
    assert memory.modified(weights) > made[weights], "what is older than the run is made again"


def what_lies_in(memory: AbstractFileSystem) -> dict[str, datetime]:
    """Return every file and when it was written; without the files that every run writes about itself."""
    files = {file: memory.modified(file) for file in memory.find("/experiment")}
    return {file: moment for file, moment in files.items() if not file.endswith(("run_info.json", "timeline.json"))}


PARAMETERS: dict[str, Any] = {"seed": 0, "target": {}}


def forgotten(folder: str, age: float | None, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether a run that goes on makes its only output again, written so many seconds after the run began."""
    began = 1_700_000_000.9
    catalog = DataCatalog(
        {
            "parameters": MemoryDataset(dict(PARAMETERS)),
            "provenance": JSONDataset(filepath=f"{folder}/provenance.json", credentials=KEY),
            "a_images": ImageSetDataset(filepath=f"{folder}/a.safetensors", credentials=KEY),
        }
    )
    monkeypatch.setattr(resume, "parameters_of", lambda parameters, _: parameters)
    catalog.save("provenance", {"parameters_sha256": resume._digest(PARAMETERS), "since": began})
    catalog.save("a_images", stripes(6))
    if age is None:
        monkeypatch.setattr(Bucket, "modified", AbstractFileSystem.modified)
    else:
        Bucket.store[f"{folder.removeprefix('bucket:///')}/a.safetensors"].modified = datetime.fromtimestamp(
            began + age, tz=timezone.utc
        )
    making = Pipeline([node(lambda: None, None, "a_images", name="make")])
    arguments = {"run_params": {"only_missing_outputs": True}, "pipeline": making, "catalog": catalog}
    ResumeHooks().before_pipeline_run(**arguments)
    return not catalog.exists("a_images")


@pytest.mark.parametrize(("age", "expected"), [(0.05, False), (-0.95, True), (None, False)])
def test_age_where_seconds_are_whole_or_unknown(
    age: float | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A result of the run's first second is not older than the run, though its time stamp is."""
    assert forgotten("bucket:///ages", age, monkeypatch) is expected


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("memory://experiment/a.json", "memory:///experiment/a.json"),
        ("bucket://experiment/{name}.json", "bucket:///experiment/{name}.json"),
        ("bucket:///experiment/a.json", "bucket:///experiment/a.json"),
        *((same, same) for same in ("s3://b/a.json", "https://host/a.json", "data/a.json", "file:///tmp/a.json")),
        *((same, same) for same in ("hdfs://host/a.json", "sftp://host/a.json", "unheard-of://b/a.json")),
    ],
)
def test_every_dataset_reads_addresses_alike(given: str, meant: str) -> None:
    assert whole_address(given) == meant
    if given.startswith(("memory", "bucket")):
        theirs, ours = Store.of(JSONDataset(filepath=meant)), Store.at(given)
        theirs.system.pipe_file(theirs.path, b"{}")
        assert ours.system.cat_file(ours.path) == b"{}"


def test_reports_elsewhere_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the server is away until the run is over: no temporary file waits with the call."""
    report = Store.at("bucket://reports/08_reporting/figures/a.png", KEY)
    report.write(b"a picture")
    calls, logged = [], []
    run = Run(server=SimpleNamespace(send=lambda what, call: calls.append(call)), name="a", id="1")
    run.log_file(report, "figures")
    run.log_file(Store.at("bucket://reports/08_reporting/b.png", KEY), None)
    keep = lambda run_id, path, folder: logged.append((folder, Path(path).name, Path(path).read_bytes()))  # noqa: E731
    for call in calls:
        call(SimpleNamespace(log_artifact=keep))
    assert logged == [("figures", "a.png", b"a picture")]
