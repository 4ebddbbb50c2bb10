"""The experiment itself side by side: the same bits as one after another, and an end that leaves nothing behind.

`python -m tests.runners.test_whole_run FOLDER DeviceRunner` runs a long one in the project there, to be interrupted.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.hooks import hook_impl
from kedro.runner import SequentialRunner

from knowledge_transfer import runners
from knowledge_transfer.learning.training.events import EpochEnded, FitResumed
from knowledge_transfer.runners import DeviceRunner
from tests.project import EVERY_ARM, ROOT, STUDENTS, TINY, Project, merged

pytestmark = pytest.mark.slow
LONG = {"student_training": {"recipe": {"epochs": 10_000}}, "evaluation": {"controls": False}}


def checkpoint_hash(project: Project, name: str) -> str:
    return project.checkpoint(name).sha256


@pytest.fixture(scope="module")
def monkeypatch_module() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory: pytest.TempPathFactory, monkeypatch_module: pytest.MonkeyPatch) -> Project:
    """The experiment up to the target, students in three processes."""
    project = Project(tmp_path_factory.mktemp("side_by_side"))
    # As the other run has it: other numbers of threads sum in another order.
    monkeypatch_module.setenv("OMP_NUM_THREADS", "1")
    last = ["target_distillation.distil_vgg19_round1"]
    project.run(EVERY_ARM, runner=DeviceRunner(processes=3), tracked=True, to_nodes=last)
    return project


@pytest.mark.parametrize("model", [*(f"{name}_round0" for name in STUDENTS), "vgg19_taught_round1"])
def test_side_by_side_gives_the_same_bits(side_by_side: Project, finished_project: Project, model: str) -> None:
    assert checkpoint_hash(side_by_side, model) == checkpoint_hash(finished_project, model)


def test_mlflow_has_every_model_with_its_device(side_by_side: Project) -> None:
    _, parents, children = side_by_side.mlflow_runs("bidirectional")
    assert {run.info.status for run in (*parents, *children)} == {"FINISHED"}
    device = {run.info.run_name: run.data.tags["device"] for run in children}
    assert (len(children), device.keys()) == (4, {*STUDENTS, "vgg19_taught"})
    assert {device[name] for name in STUDENTS} == {f"cpu:{number}" for number in range(3)}


def test_results_of_other_processes_are_stamped(side_by_side: Project) -> None:
    assert side_by_side.report("provenance")["parameters_sha256"]


@pytest.fixture
def goes_on(finished_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in which all is made, by one process, and any node can be run again."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return finished_project.copy(tmp_path)


def test_ray_gives_the_same_bits(goes_on: Project, finished_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}/src")
    began = time.time()
    students = STUDENTS[:2]
    nodes = [f"student_training.train_{name}" for name in students]
    goes_on.run(EVERY_ARM, runner=runners.RayRunner(), tracked=True, node_names=nodes)
    for name in students:
        assert goes_on.file(f"06_models/{name}_round0.safetensors").stat().st_mtime > began
        assert checkpoint_hash(goes_on, f"{name}_round0") == checkpoint_hash(finished_project, f"{name}_round0")


def test_a_target_trains_on_two_devices(goes_on: Project) -> None:
    nodes = ["target_distillation.distil_vgg19_round1", "evaluation.measure_device_use"]
    before = checkpoint_hash(goes_on, "vgg19_taught_round1")
    params = {**EVERY_ARM, "target": {"devices": 2}}
    goes_on.run(params, runner=DeviceRunner(processes=2), tracked=True, node_names=nodes)
    assert checkpoint_hash(goes_on, "vgg19_taught_round1") != before, "two sum in another order than one"
    timeline = goes_on.report("timeline")
    assert timeline["places"] == ["cpu:0", "cpu:1"]
    (fit,) = [each for each in timeline["nodes"] if each["model"] == "vgg19_taught"]
    assert (fit["places"], fit["status"], fit["attempt"]) == (["cpu:0", "cpu:1"], "finished", 1)
    _, parents, children = goes_on.mlflow_runs("bidirectional")
    assert "cpu:0, cpu:1" in {run.data.tags["device"] for run in children if run.info.run_name == "vgg19_taught"}
    assert {run.info.status for run in (*parents, *children)} == {"FINISHED"}


class KillOnce:
    """Kills the process of a fit, as a machine without memory would, once five epochs of it are over."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    @hook_impl
    def on_node_event(self, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, EpochEnded) and event.epoch == 5 and not self.resumed():
            (worker,) = [child for child in active_children() if child.name.startswith("cpu:")]
            worker.kill()

    def resumed(self) -> list[int]:
        return [event.epoch for event in self.events if isinstance(event, FitResumed)]


def test_a_killed_fit_resumes_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("KNOWLEDGE_TRANSFER_SNAPSHOT_SECONDS", "0")
    params = merged(TINY, {"students": {"resnet8": {"recipe": {"epochs": 60}}}})
    kill, hashes = KillOnce(), []
    for number, runner in enumerate((DeviceRunner(processes=2), SequentialRunner())):
        project = Project(tmp_path / str(number))
        with project.session(params) as session:
            session._hook_manager.register(kill)
            session.run(pipeline_names=["bidirectional"], runner=runner, to_nodes=["student_training.train_resnet8"])
        hashes.append(checkpoint_hash(project, "resnet8_round0"))
        assert not list(project.path.rglob("*.snapshot"))
    (goes_on_after,) = kill.resumed()
    assert goes_on_after >= 4
    assert hashes[0] == hashes[1]


def children_of(pid: int) -> set[int]:
    """Return the processes below `pid` that are alive, at any depth."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found |= {int(child)} | children_of(int(child))
    return found


def is_working(pid: int) -> bool:
    """Return whether the process still runs nodes, or is Ray's; a zombie or a process that only tracks does neither."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_text()
        return state != "Z" and ("forkserver" in command or "ray" in command)
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads processes from /proc")
@pytest.mark.parametrize("runner", ["DeviceRunner", "RayRunner"])
@pytest.mark.parametrize(("name", "exit_code"), [("SIGINT", -signal.SIGINT), ("SIGTERM", 143)])
def test_an_interruption_ends_every_process_and_mlflow_run(
    tmp_path: Path, name: str, exit_code: int, runner: str
) -> None:
    if runner == "RayRunner":
        pytest.importorskip("ray")
    project = Project(tmp_path)
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.runners.test_whole_run", str(tmp_path), runner],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    with started:
        below = interrupt(started, name)
        sent = time.monotonic()
        assert started.wait(30) == exit_code
        assert time.monotonic() - sent < 20
    while any(map(is_working, below)) and time.monotonic() - sent < 20:
        time.sleep(0.1)  # Ray's own follow its driver
    assert not [pid for pid in below if is_working(pid)]
    _, parents, children = project.mlflow_runs("bidirectional")
    assert {run.info.status for run in (*parents, *children)} == {"KILLED"}
    assert children


def interrupt(started: subprocess.Popen[str], name: str) -> set[int]:
    """Send the signal once two students train; return the processes that there were then below `started`."""
    assert started.stdout is not None
    watchdog = threading.Timer(300, started.kill)
    watchdog.start()
    training: set[str] = set()
    for line in started.stdout:
        training |= {student for student in STUDENTS if f"train_{student}" in line and "epoch" in line}
        if len(training) == 2:
            break
    below = children_of(started.pid)
    assert sum(map(is_working, below)) >= 2
    # To the whole group, as a terminal does on Ctrl-C; SIGTERM to the driver alone, as a scheduler does.
    (os.killpg if name == "SIGINT" else os.kill)(started.pid, signal.Signals[name])
    started.stdout.read()
    watchdog.cancel()
    return below


if __name__ == "__main__":
    with Project.at(Path(sys.argv[1])).session(merged(TINY, LONG)) as session:
        two = getattr(runners, sys.argv[2])(**({"processes": 2} if sys.argv[2] == "DeviceRunner" else {}))
        session.run(pipeline_names=["bidirectional"], runner=two)
