"""What stands in MLflow after a run, however the run ends. As a program, this module is a run to interrupt."""

import logging
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from knowledge_transfer.experiment.current import acceptance_tags, training_tags
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.acceptance import accept
from knowledge_transfer.learning.training import events
from knowledge_transfer.tracking import MlflowHooks
from knowledge_transfer.tracking.server import Server
from tests.models import checkpoint
from tests.project import ROOT

PARAMETERS = {
    "students": {"resnet8": {"width": 0.25}},
    "long": "x" * 9000,
    "many": {f"setting{number}": number for number in range(150)},
}
SUMMARY_ROW = {"round": 1, "parameters": 1, "macs": None, "images_per_second": None}


def make_checkpoint(name: str, **facts: Any) -> Checkpoint:
    recipe = {"epochs": 2, "augmentation": {"crop": 4}}
    return checkpoint(name=name, class_names=("a", "b"), recipe=recipe, **facts)


def emit_epoch(name: str, epoch: int, epochs: int = 2) -> None:
    events.emit(events.EpochEnded(name, epoch, epochs, 1 / epoch, 0.5, 0.7, 0.6, 0.1, 1000.0, 1.0))


def train(name: str, meanwhile: Callable[[], None] = lambda: None, **facts: Any) -> Callable[..., Checkpoint]:
    def fit(*_: Any) -> Checkpoint:
        events.emit(events.FitStarted(name, 2, 8, 1))
        emit_epoch(name, 1)
        meanwhile()
        emit_epoch(name, 2)
        return make_checkpoint(name, **facts)

    return fit


def training_node(name: str, function: Callable[..., Checkpoint], *tags: str) -> Any:
    inputs, stage = ["student_images", "validation_images"], {"namespace": "student_training"}
    return node(
        function, inputs, f"{name}_round0_checkpoint", name=f"train_{name}", tags=training_tags(name, *tags), **stage
    )


def accepting_node(name: str, function: Callable[..., Checkpoint], *tags: str) -> Any:
    inputs, stage = ["validation_images", f"{name}_taught_round0_checkpoint"], {"namespace": "target_distillation"}
    tags = acceptance_tags(name, *tags)
    return node(function, inputs, f"{name}_round1_checkpoint", name=f"accept_{name}_round1", tags=tags, **stage)


def accepted(name: str, taught: Checkpoint) -> Checkpoint:
    """Return the weights of `taught` as those of `name` after round 1, kept because their NLL is the least."""
    return accept(name, 1, taught, {f"{name}@0": 0.75, taught.facts.key: 0.5})


def make_images(seed: int) -> ImageSet:
    generator = np.random.default_rng(seed)
    pixels = torch.from_numpy(generator.integers(0, 256, (4, 1, 32, 32), dtype=np.uint8))
    return ImageSet(pixels, torch.tensor([0, 1, 0, 1]), ("a", "b"))


def kedro_run(project: Path, pipeline: Pipeline, hooks: MlflowHooks | None = None, **datasets: Any) -> None:
    """Do what a Kedro session does: the same hooks in the same order."""
    catalog = DataCatalog(
        {
            "parameters": MemoryDataset(PARAMETERS),
            "student_images": MemoryDataset(make_images(1), copy_mode="assign"),
            "validation_images": MemoryDataset(make_images(2), copy_mode="assign"),
            **datasets,
        }
    )
    manager = _create_hook_manager()
    manager.register(hooks or MlflowHooks())
    arguments = {"run_params": run_params(project), "pipeline": pipeline, "catalog": catalog}
    manager.hook.before_pipeline_run(**arguments)
    try:
        result = SequentialRunner().run(pipeline, catalog, manager, run_id="now")
    except Exception as error:
        manager.hook.on_pipeline_error(error=error, **arguments)
        raise
    manager.hook.after_pipeline_run(run_result=result, **arguments)


def fit_one(project: Path, meanwhile: Callable[[], None] = lambda: None, hooks: MlflowHooks | None = None) -> None:
    kedro_run(project, Pipeline([training_node("resnet8", train("resnet8", meanwhile))]), hooks)


def run_params(project: Path) -> dict[str, Any]:
    return {"project_path": str(project), "env": "base", "pipeline_names": ["student_training"]}


def store(project: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project}/mlflow.db")


def tracked(project: Path) -> tuple[Run, dict[str, Run]]:
    """Return the newest pipeline run and its models' runs by name."""
    client = store(project)
    experiment = client.get_experiment_by_name("student_training")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, {run.info.run_name: run for run in children}


def statuses(project: Path) -> list[str]:
    parent, children = tracked(project)
    return [parent.info.status, *(child.info.status for child in children.values())]


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path)
    return tmp_path


@pytest.fixture
def mlflow_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What MLflow would write to the console; its loggers do not propagate."""
    monkeypatch.setattr(logging.getLogger("mlflow"), "handlers", [caplog.handler])
    return caplog


def warnings_in(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


def test_every_model_has_a_run_of_one_shape(project: Path, mlflow_log: pytest.LogCaptureFixture) -> None:
    taught = {"distillation": {"alpha": 0.9}, "parents": {"vgg19@0": "f" * 64}}
    fits = {"resnet8": train("resnet8"), "squeezenet": train("squeezenet", **taught)}
    kedro_run(project, Pipeline([training_node(*each) for each in fits.items()]))
    parent, children = tracked(project)
    assert parent.info.run_name == "student_training base"
    assert parent.data.tags["environment"] == "base"
    assert parent.data.params["students.resnet8.width"] == "0.25"
    assert parent.data.params["long"] == "x" * 6000
    assert parent.data.params["many.setting149"] == "149"
    assert statuses(project) == ["FINISHED"] * 3

    plain, other = children["resnet8"].data, children["squeezenet"].data
    assert plain.metrics.keys() == other.metrics.keys()
    assert plain.metrics["validation_accuracy"] == 0.6
    known = {"architecture", "width", "stage", "round", "recipe.augmentation.crop", "parameters", "seed"}
    assert known <= plain.params.keys()
    assert {key for key in plain.params if "." not in key} == {key for key in other.params if "." not in key}
    assert plain.params["distillation.alpha"] == "None"
    assert other.params["distillation.alpha"] == "0.9"
    assert other.tags["parent.vgg19_round0"] == "f" * 64
    assert other.tags["stage"] == "student_training"
    assert not warnings_in(mlflow_log)


def test_image_sets_are_a_models_inputs(project: Path) -> None:
    fit_one(project)
    inputs = tracked(project)[1]["resnet8"].inputs.dataset_inputs
    found = {one.dataset.name: (one.dataset.digest, one.tags[0].value) for one in inputs}
    assert found == {
        "student_images": (make_images(1).sha256[:36], "train"),
        "validation_images": (make_images(2).sha256[:36], "validation"),
    }


def test_an_epoch_is_there_while_the_node_runs(project: Path) -> None:
    seen = []

    def look() -> None:
        run = tracked(project)[1]["resnet8"]
        seen.append((run.info.status, run.data.metrics["loss"]))

    fit_one(project, look)
    assert seen == [("RUNNING", 1.0)]
    run = tracked(project)[1]["resnet8"]
    curve = store(project).get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5)]


def test_only_training_nodes_have_runs(project: Path) -> None:
    made: list[Checkpoint] = []

    def fit(student: ImageSet, validation: ImageSet) -> Checkpoint:
        assert (student.sha256, validation.sha256) == (make_images(1).sha256, make_images(2).sha256)
        made.append(make_checkpoint("resnet8"))
        return made[0]

    def look(found: Checkpoint) -> None:
        assert found.sha256 == made[0].facts.sha256

    final = training_node("resnet8", fit, "final")
    kedro_run(project, Pipeline([final, node(look, "resnet8_round0_checkpoint", None, name="look")]))
    assert list(tracked(project)[1]) == ["resnet8"]


def test_a_node_error_fails_model_and_pipeline(project: Path) -> None:
    def diverge() -> None:
        raise RuntimeError("the loss is nan at step 7")

    with pytest.raises(RuntimeError, match="step 7"):
        fit_one(project, diverge)
    parent, children = tracked(project)
    assert statuses(project) == ["FAILED", "FAILED"]
    assert children["resnet8"].data.tags["error"] == "RuntimeError: the loss is nan at step 7"
    assert parent.data.tags["error"] == children["resnet8"].data.tags["error"]
    assert children["resnet8"].data.metrics["loss"] == 1.0
    emit_epoch("resnet8", 2)
    assert tracked(project)[1]["resnet8"].data.metrics["loss"] == 1.0, "later fits are not logged"


def test_another_process_finds_the_run_by_environment(project: Path) -> None:
    driver, worker = MlflowHooks(), MlflowHooks()
    catalog = DataCatalog({})
    driver.before_pipeline_run(run_params=run_params(project), pipeline=Pipeline([]), catalog=catalog)
    one = training_node("resnet8", train("resnet8"))
    worker.before_node_run(node=one, inputs={"student_images": make_images(1)})
    worker.after_node_run(node=one, outputs={"resnet8_round0_checkpoint": one.func()})
    assert statuses(project) == ["RUNNING", "FINISHED"]
    lost = training_node("squeezenet", train("squeezenet"))
    worker.before_node_run(node=lost, inputs={})
    driver.after_pipeline_run(pipeline=Pipeline([one]), catalog=catalog)
    assert sorted(statuses(project)) == ["FINISHED", "FINISHED", "KILLED"], "a worker that vanished"
    assert not {"KNOWLEDGE_TRANSFER_RUN", "MLFLOW_TRACKING_URI"} & os.environ.keys()
    MlflowHooks().before_node_run(node=one, inputs={})
    assert len(statuses(project)) == 3, "no pipeline, no run"
    worker.on_node_error(error=RuntimeError("only to leave no listener to the tests that follow"), node=lost)


def test_what_was_accepted_has_a_run_beside_what_was_taught(project: Path) -> None:
    taught = training_node("resnet8_taught", train("resnet8_taught"))
    keep = accepting_node("resnet8", lambda _, found: accepted("resnet8", found))
    kedro_run(project, Pipeline([taught, keep]))
    children = tracked(project)[1]
    assert children.keys() == {"resnet8_taught", "resnet8"}
    run, fitted = children["resnet8"], children["resnet8_taught"]
    assert run.data.metrics == {"validation_nll.resnet8_round0": 0.75, "validation_nll.resnet8_taught_round0": 0.5}
    assert run.data.tags["parent.resnet8_taught_round0"] == run.data.tags["sha256"] == fitted.data.tags["sha256"]
    assert (run.data.params["stage"], run.data.params["round"]) == ("target_distillation", "1")
    assert run.data.params.keys() == fitted.data.params.keys()
    assert [one.dataset.name for one in run.inputs.dataset_inputs] == ["validation_images"]
    assert not [key for key in fitted.data.metrics if key.startswith("validation_nll")]
    assert not store(project).search_registered_models(), "not of the last round"


def test_a_warning_is_a_tag(project: Path) -> None:
    fits = {"resnet8": train("resnet8", warning="answers one class"), "squeezenet": train("squeezenet")}
    kedro_run(project, Pipeline([training_node(*each) for each in fits.items()]))
    tags = {name: run.data.tags.get("warning") for name, run in tracked(project)[1].items()}
    assert tags == {"resnet8": "answers one class", "squeezenet": None}


def test_fits_of_one_node_share_a_run(project: Path) -> None:
    def fit(*_: Any) -> list[Checkpoint]:
        return [train(name)() for name in ("resnet8_mutual", "squeezenet_mutual")]

    outputs = ["resnet8_mutual_round1_checkpoint", "squeezenet_mutual_round1_checkpoint"]
    together = node(fit, "student_images", outputs, name="train_together", tags=training_tags("students_mutual"))
    kedro_run(project, Pipeline([together]))
    ((name, run),) = tracked(project)[1].items()
    assert (name, run.info.status) == ("students_mutual", "FINISHED")
    assert {key for key in run.data.metrics if key.startswith("loss")} == {
        "loss.resnet8_mutual", "loss.squeezenet_mutual"
    }  # fmt: skip
    assert not run.data.params


def test_the_last_model_of_a_name_is_registered(
    project: Path, monkeypatch: pytest.MonkeyPatch, mlflow_log: pytest.LogCaptureFixture
) -> None:
    made: list[Checkpoint] = []

    def keep(_: ImageSet, found: Checkpoint) -> Checkpoint:
        made.append(accepted("resnet8", found))
        return made[-1]

    names = ("resnet8_taught", "simple_cnn")
    pipeline = Pipeline(
        [*(training_node(name, train(name)) for name in names), accepting_node("resnet8", keep, "final")]
    )
    kedro_run(project, pipeline)
    kedro_run(project, pipeline)
    client = store(project)
    names = [model.name for model in client.search_registered_models()]
    assert names == ["student_training", "student_training.resnet8"]
    version = client.get_model_version("student_training.resnet8", "2")
    run = tracked(project)[1]["resnet8"]
    model_id = run.outputs.model_outputs[0].model_id
    assert (version.run_id, version.source) == (run.info.run_id, f"models:/{model_id}")
    logged = client.get_logged_model(model_id)
    assert logged.experiment_id == run.info.experiment_id
    assert {metric.key: metric.value for metric in logged.metrics} == {
        "validation_nll.resnet8_round0": 0.75, "validation_nll.resnet8_taught_round0": 0.5
    }  # fmt: skip
    assert not list((project / "mlartifacts").rglob("*.pkl")) + list((project / "mlartifacts").rglob("*.pth"))

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    served = mlflow.pyfunc.load_model("models:/student_training@champion")
    for batch in (1, 5):
        pixels = torch.randint(0, 256, (batch, 1, 32, 32), dtype=torch.uint8)
        expected = made[-1].build()(pixels).softmax(1)
        for given in (pixels.numpy(), pixels.long().tolist()):
            found = served.predict(given)
            assert [list(each["probabilities"]) for each in found] == [
                [made[-1].facts.class_names[index] for index in row] for row in expected.argsort(1, descending=True)
            ]
            assert [each["probability"] for each in found] == pytest.approx(expected.amax(1).tolist(), abs=1e-5)
    for refused, message in [
        (pixels.numpy() / 255, "these are float64, not whole numbers from 0 to 255"),
        (pixels.long().numpy() + 1, "pixels are from 0 to 255, these from .* to 256"),
        (np.zeros((1, 3, 32, 32), np.uint8), r"takes pixels of \['images', 1, 32, 32\], these are \[1, 3, 32, 32\]"),
        (["no picture"], "an image cannot be read"),
    ]:
        with pytest.raises(mlflow.MlflowException, match=message):
            served.predict(refused)
    assert not warnings_in(mlflow_log)


def test_the_best_on_validation_is_the_champion(project: Path) -> None:
    """Of the last run; its version says how good it is, and what it takes."""
    for right in ({"a": 0.5, "b": 0.75}, {"a": 0.875, "b": 0.25}):
        fits = {
            name: train(name, metrics={"validation_accuracy": accuracy}, seed=int(8 * accuracy))
            for name, accuracy in right.items()
        }
        kedro_run(project, Pipeline([training_node(name, fit, "final") for name, fit in fits.items()]))
        best = max(right, key=right.__getitem__)
        version = store(project).get_model_version_by_alias("student_training", "champion")
        assert version.tags["validation_accuracy"] == f"{right[best]:.4f}"
        assert version.run_id == tracked(project)[1][best].info.run_id
        assert version.description.startswith(f"{best}@0: resnet8 (width 0.25)")
        assert f"right on {100 * right[best]:.1f} % of the validation images" in version.description


def test_reports_and_summary_are_on_the_pipelines_run(project: Path) -> None:
    reporting = project / "data" / "08_reporting"
    rows = [
        {"model": "resnet8", "stage": "after", "accuracy": 0.75, "nll": 0.5, "ece": None, **SUMMARY_ROW},
        {"model": "all (mean)", "stage": "ensemble", "accuracy": 0.8, "nll": None, "ece": 0.1, **SUMMARY_ROW},
    ]
    kedro_run(
        project,
        Pipeline(
            [
                node(lambda _: {"rows": rows}, "student_images", "summary", name="evaluate"),
                node(lambda _: [1], "summary", "curve_figure", name="draw"),
                node(lambda _: [2], "summary", "scratch", name="think"),
            ]
        ),
        summary=JSONDataset(filepath=str(reporting / "summary.json")),
        curve_figure=JSONDataset(filepath=str(reporting / "figures" / "curve.json")),
        scratch=JSONDataset(filepath=str(project / "data" / "07_model_output" / "scratch.json")),
    )
    parent, _ = tracked(project)
    assert parent.data.metrics == {
        "accuracy.after.resnet8": 0.75,
        "nll.after.resnet8": 0.5,
        "accuracy.ensemble.all_mean": 0.8,
        "ece.ensemble.all_mean": 0.1,
    }
    client, run_id = store(project), parent.info.run_id
    files = [file.path for folder in (None, "figures") for file in client.list_artifacts(run_id, folder)]
    assert sorted(files) == ["figures", "figures/curve.json", "summary.json"]


def git(project: Path, *command: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    return subprocess.run(["git", *identity, *command], cwd=project, check=True, capture_output=True, text=True).stdout


def test_runs_name_the_commit_they_ran(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = Pipeline([training_node("resnet8", train("resnet8"))])
    kedro_run(project, pipeline)
    assert "mlflow.source.git.commit" not in tracked(project)[0].data.tags

    git(project, "init", "-q")
    (project / "a.py").write_text("a = 1\n")
    git(project, "add", "a.py")
    git(project, "commit", "-qm", "a")
    git(project, "tag", "-a", "v1", "-m", "a tag must not stand for the hash")
    commit = git(project, "rev-parse", "HEAD").strip()
    for content, dirty in (("a = 1\n", "false"), ("a = 2\n", "true")):
        (project / "a.py").write_text(content)
        kedro_run(project, pipeline)
        parent, children = tracked(project)
        for run in (parent, children["resnet8"]):
            assert (run.data.tags["mlflow.source.git.commit"], run.data.tags["git.dirty"]) == (commit, dirty)

    monkeypatch.setenv("PATH", "")
    kedro_run(project, pipeline)
    assert "mlflow.source.git.commit" not in tracked(project)[0].data.tags


Interrupted = tuple[Path, "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def halfway(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Interrupted]]:
    """Runs in other processes, each in the middle of its fit; all at once, for each imports torch for seconds."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    runs: dict[str, Interrupted] = {}
    with ExitStack() as stack:
        for name in ("SIGINT", "SIGTERM", "SIGKILL"):
            project = tmp_path_factory.mktemp(name)
            shutil.copy(empty_store, project)
            command = [sys.executable, "-m", "tests.tracking.test_tracking", str(project)]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
            process = stack.enter_context(subprocess.Popen(command, env=environment, **pipes))
            stack.callback(process.kill)
            runs[name] = project, process
        for _, process in runs.values():
            assert "in the middle\n" in iter(process.stdout.readline, ""), "the run ended before its fit"
        yield runs


@pytest.mark.slow
@pytest.mark.parametrize(("name", "exit_code"), [("SIGINT", -signal.SIGINT), ("SIGTERM", 143)])
def test_an_interrupted_run_ends_as_killed(halfway: dict[str, Interrupted], name: str, exit_code: int) -> None:
    project, process = halfway[name]
    assert statuses(project) == ["RUNNING", "RUNNING"]
    process.send_signal(signal.Signals[name])
    assert process.wait(30) == exit_code
    assert statuses(project) == ["KILLED", "KILLED"]


@pytest.mark.slow
def test_the_next_run_ends_those_without_a_process(halfway: dict[str, Interrupted]) -> None:
    project, process = halfway["SIGKILL"]
    before = [run.info.run_id for run in (tracked(project)[0], *tracked(project)[1].values())]

    def found_by_the_next_run() -> list[str]:
        fit_one(project)
        return [store(project).get_run(run_id).info.status for run_id in before]

    assert found_by_the_next_run() == ["RUNNING", "RUNNING"]
    process.kill()
    process.wait(30)
    assert found_by_the_next_run() == ["KILLED", "KILLED"]


def test_a_killed_worker_does_not_end_the_run(project: Path) -> None:
    hooks, seen = MlflowHooks(), []

    def lose_a_worker() -> None:
        hooks.on_node_ended(status="killed")
        seen.append(tracked(project)[0].info.status)

    fit_one(project, lose_a_worker, hooks)
    assert seen[0] == "RUNNING"


@pytest.mark.parametrize("reloaded", [False, True], ids=["same hooks", "reloaded"])
def test_the_next_run_ends_one_abandoned_in_notebooks(project: Path, reloaded: bool) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    hooks = MlflowHooks()
    with pytest.raises(KeyboardInterrupt):
        fit_one(project, interrupt, hooks)
    abandoned = [run.info.run_id for run in (tracked(project)[0], *tracked(project)[1].values())]
    fit_one(project, hooks=MlflowHooks() if reloaded else hooks)
    assert statuses(project) == ["FINISHED", "FINISHED"]
    client = store(project)
    assert [client.get_run(run_id).info.status for run_id in abandoned] == ["KILLED", "KILLED"]
    if not reloaded:
        assert len(client.get_metric_history(abandoned[1], "loss")) == 1, "the next fit is not logged"
    hooks.on_pipeline_error(error=RuntimeError("only to leave no listener to the tests that follow"))


def test_sigterm_keeps_its_handler(project: Path) -> None:
    def theirs(*_: object) -> None: ...

    for handler in (theirs, signal.SIG_DFL):
        seen = []
        before = signal.signal(signal.SIGTERM, handler)
        try:
            look = lambda: seen.append(signal.getsignal(signal.SIGTERM))  # noqa: B023, E731
            fit_one(project, look)
            assert signal.getsignal(signal.SIGTERM) is handler
        finally:
            signal.signal(signal.SIGTERM, before)
        assert (seen == [theirs]) is (handler is theirs)


def test_an_absent_server_costs_a_warning_only(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: every connection is refused
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{closed.getsockname()[1]}")
        started = time.monotonic()
        kedro_run(project, Pipeline([training_node("resnet8", train("resnet8"), "final")]))
        assert time.monotonic() - started < 60, "by default every call takes four minutes"
    warnings = warnings_in(caplog)
    assert len(warnings) == 2
    assert "unreachable; the run continues" in warnings[0]
    assert "only in its checkpoints' learning curves" in warnings[1]
    assert "secret" not in caplog.text


def test_calls_wait_in_order_for_the_server(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    away = project / "server"
    away.write_text("a file, where the database's folder should be")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{away}/mlflow.db")

    def come_back() -> None:
        away.unlink()
        away.mkdir()
        shutil.copy(project / "mlflow.db", away)

    kedro_run(project, Pipeline([training_node("resnet8", train("resnet8", come_back), "final")]))
    parent, children = tracked(away)
    assert statuses(away) == ["FINISHED", "FINISHED"]
    curve = store(away).get_metric_history(children["resnet8"].info.run_id, "loss")
    assert [point.value for point in curve] == [1.0, 0.5]
    assert curve[0].timestamp <= curve[1].timestamp <= children["resnet8"].info.end_time <= parent.info.end_time


def test_an_absent_server_is_tried_again_later(
    project: Path, monkeypatch: pytest.MonkeyPatch, mlflow_log: pytest.LogCaptureFixture
) -> None:
    tries: list[object] = []

    def log(client: MlflowClient) -> None:
        tries.append(client)
        client.search_experiments()

    server = Server(f"sqlite:///{project}/mlflow.db")
    server.send("connect", lambda client: None)
    with closing(sqlite3.connect(project / "mlflow.db")) as database:
        database.execute("ALTER TABLE experiments RENAME TO away")
    server.send("log", log)
    server.send("log", log)
    assert len(tries) == 1
    later = time.monotonic() + 301
    monkeypatch.setattr(time, "monotonic", lambda: later)
    server.send("log", log)
    assert len(tries) == 2
    assert [message.partition(" is ")[2][:11] for message in warnings_in(mlflow_log)] == ["unreachable"]


def test_a_failing_call_is_reported_and_stops_nothing(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    server, done = Server(f"sqlite:///{project}/mlflow.db"), []
    server.send("register resnet8", lambda client: 1 / 0)
    server.send("go on", done.append)
    server.close()
    assert len(done) == 1
    assert [record.getMessage().partition(" could not ")[2] for record in caplog.records] == [
        "register resnet8: division by zero"
    ]


def _wait_for_a_signal() -> None:
    print("in the middle", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    fit_one(Path(sys.argv[1]), _wait_for_a_signal)
