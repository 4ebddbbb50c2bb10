"""What a run shows: live on a terminal, line by line elsewhere, and a table at the end."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import rich
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node
from kedro_datasets.json import JSONDataset
from rich.console import Console

from knowledge_transfer.console.progress import ProgressHooks
from knowledge_transfer.learning.training import events

RESNET, VGG = (
    node(
        lambda: None,
        None,
        f"{name}_round0_checkpoint",
        name=f"train_{name}",
        namespace="student_training",
        tags=["training"],
    )
    for name in ("resnet8", "vgg19")
)
LABEL = node(lambda: None, None, "soft_labels", name="label")
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


def fit(model: str, epochs: int) -> None:
    events.emit(events.FitStarted(model, epochs, 1257, 78042))
    for epoch in range(1, epochs + 1):
        events.emit(
            events.EpochEnded(model, epoch, epochs, 1 / epoch, 0.5, 0.7, 0.853, 0.1, 1234.5, 65.0 * (epochs - epoch))
        )


def show(hooks: ProgressHooks, training: Node, epochs: int) -> None:
    hooks.before_node_run(node=training)
    fit(training.name.removeprefix("student_training.train_"), epochs)
    hooks.after_node_run(node=training)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(rich, "_console", Console(file=screen, force_terminal=True, width=120, color_system=None))
    return screen


def test_a_log_file_gets_one_line_per_epoch_of_a_short_fit(capsys: pytest.CaptureFixture[str]) -> None:
    hooks = ProgressHooks()
    hooks.before_pipeline_run(pipeline=Pipeline([RESNET, LABEL, VGG]))
    show(hooks, RESNET, 2)
    hooks.before_node_run(node=LABEL)
    hooks.after_node_run(node=LABEL)
    show(hooks, VGG, 1)
    assert capsys.readouterr().out.splitlines() == [
        "[1/2] student_training  resnet8  2 epochs, 1,257 images, 78,042 parameters",
        "[1/2] student_training  resnet8  epoch 1/2  loss 1.000  validation 85.3%  1,234 images/s  0:01:05 left",
        "[1/2] student_training  resnet8  epoch 2/2  loss 0.500  validation 85.3%  1,234 images/s  done",
        "[2/2] student_training  vgg19  1 epochs, 1,257 images, 78,042 parameters",
        "[2/2] student_training  vgg19  epoch 1/1  loss 1.000  validation 85.3%  1,234 images/s  done",
    ]


def go_on(hooks: ProgressHooks) -> None:
    """Tell of a fit that goes on after the first of three epochs, and of no other epoch."""
    hooks.before_pipeline_run(pipeline=Pipeline([RESNET]))
    hooks.before_node_run(node=RESNET)
    events.emit(events.FitStarted("resnet8", 3, 1257, 78042))
    events.emit(events.FitResumed("resnet8", 1))
    hooks.after_node_run(node=RESNET)


def test_a_log_file_is_told_where_a_fit_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    go_on(ProgressHooks())
    assert capsys.readouterr().out.splitlines()[-1] == "[1/1] student_training  resnet8  goes on after epoch 1"


def test_a_terminal_shows_the_epochs_before_an_interruption_as_done(terminal: io.StringIO) -> None:
    go_on(ProgressHooks())
    third = "━" * 6 + "╸"  # of a bar of twenty
    assert f"resnet8 {third:<20} goes on after epoch 1" in terminal.getvalue()


@pytest.mark.parametrize(("epochs", "lines"), [(12, 12), (13, 8), (50, 11), (350, 11)])
def test_a_long_fit_is_told_in_about_ten_lines_with_first_and_last(
    epochs: int, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    show(ProgressHooks(), RESNET, epochs)
    told = [int(number) for number in re.findall(r"epoch +(\d+)/", capsys.readouterr().out)]
    assert len(told) == lines
    assert (told[0], told[-1]) == (1, epochs)


def test_a_terminal_gets_one_line_per_fit_that_stays(terminal: io.StringIO) -> None:
    hooks = ProgressHooks()
    hooks.before_pipeline_run(pipeline=Pipeline([RESNET, VGG]))
    show(hooks, RESNET, 2)
    show(hooks, VGG, 3)
    shown = terminal.getvalue()
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)
    done = [line for line in re.sub(r"\x1b\[[?\d]*[a-zA-Z]", "", shown).splitlines() if "done" in line]
    assert list(dict.fromkeys(done)) == [
        f"[{place}] student_training  {model} {'━' * 20} epoch {n}/{n}  loss {1 / n:.3f}  validation 85.3%  "
        "1,234 images/s  done"
        for place, model, n in (("1/2", "resnet8", 2), ("2/2", "vgg19", 3))
    ]


def test_a_narrow_terminal_gets_every_word(terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich.get_console(), "width", 80)
    hooks = ProgressHooks()
    hooks.before_pipeline_run(pipeline=Pipeline([RESNET]))
    show(hooks, RESNET, 1)
    last = re.sub(r"\x1b\[[?\d]*[a-zA-Z]|\s", "", terminal.getvalue().split("\x1b[2K")[-1])
    assert "…" not in last
    assert sorted(last) == sorted("[1/1]student_trainingresnet8epoch1/1loss1.000validation85.3%1,234images/sdone")


def test_only_the_main_thread_of_the_pipelines_process_draws(
    terminal: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    show(ProgressHooks(), RESNET, 1)
    assert capsys.readouterr().out.startswith("student_training  resnet8"), "alone, it knows no number of fits"
    hooks = ProgressHooks()
    hooks.before_pipeline_run(pipeline=Pipeline([RESNET, VGG]))
    thread = threading.Thread(target=show, args=(hooks, RESNET, 1))
    thread.start()
    thread.join()
    assert capsys.readouterr().out.startswith("[1/2] student_training  resnet8")
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("ending", ["after_node_run", "on_node_error"])
def test_nobody_listens_once_a_node_is_over(ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    hooks = ProgressHooks()
    hooks.before_node_run(node=RESNET)
    getattr(hooks, ending)(node=RESNET)
    fit("resnet8", 2)
    assert capsys.readouterr().out == ""


def test_a_terminal_has_its_cursor_back_after_ctrl_c() -> None:
    program = """
from kedro.pipeline import Pipeline, node
from knowledge_transfer.learning.training import events
from knowledge_transfer.console.progress import ProgressHooks
training = node(print, "a", "b", name="train", tags=["training"])
hooks = ProgressHooks()
hooks.before_pipeline_run(pipeline=Pipeline([training]))
hooks.before_node_run(node=training)
events.emit(events.FitStarted("resnet8", 2, 8, 1))
raise KeyboardInterrupt
"""
    # What rich takes for a terminal, without one.
    environment = {**os.environ, "TTY_COMPATIBLE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGINT
    assert HIDE_CURSOR in ended.stdout
    assert ended.stdout.rindex(SHOW_CURSOR) > ended.stdout.rindex(HIDE_CURSOR)


def row(model: str, stage: str, **values: Any) -> dict[str, Any]:
    known = {"round": 1, "accuracy": 0.9876, "nll": 0.1234, "ece": 0.056, "parameters": 78042, "macs": 1}
    return {"model": model, "stage": stage, **known, "images_per_second": 1234.5, **values}


def finish(project: Path, **datasets: Any) -> None:
    nodes = [node(lambda: None, None, name, name=f"make_{name}") for name in datasets]
    told = {"pipeline": Pipeline(nodes), "catalog": DataCatalog(datasets)}
    ProgressHooks().after_pipeline_run(run_params={"project_path": str(project)}, **told)


def json(project: Path, path: str, content: Any = None) -> JSONDataset:
    dataset = JSONDataset(filepath=str(project / "data" / path))
    if content is not None:
        dataset.save(content)
    return dataset


def test_a_run_ends_with_a_table_and_where_things_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    name = "a_student_with_a_name_that_is_longer_than_forty_columns"
    nothing = dict.fromkeys(("nll", "ece", "macs", "images_per_second"))
    rows = [
        row("labels", "reference"),
        row("ensemble_borda", "ensemble", **nothing),  # one of many rules, which the report has
        row("ensemble_mean_probabilities", "ensemble", **nothing),
        row(name, "after"),
        row(name, "before"),
    ]
    finish(
        tmp_path,
        summary=json(tmp_path, "08_reporting/summary.json", {"rows": rows}),
        report_page=json(tmp_path, "08_reporting/report.html"),
        a_round0_checkpoint=json(tmp_path, "06_models/a.safetensors"),
        b_round0_checkpoint=json(tmp_path, "06_models/b.safetensors"),
    )
    shown = capsys.readouterr().out
    table, places = shown.split("└")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line.startswith("│")]
    assert cells == [
        [name, "before", "1", "98.8", "0.123", "5.6", "78,042", "1,234"],
        [name, "after", "1", "98.8", "0.123", "5.6", "78,042", "1,234"],
        ["ensemble_mean_probabilities", "ensemble", "1", "98.8", "–", "–", "78,042", "–"],
        ["labels", "reference", "1", "98.8", "0.123", "5.6", "78,042", "1,234"],
    ]
    assert table.count("├") == 3, "a rule between the stages"
    assert places.splitlines()[1:] == [
        "report       data/08_reporting/report.html",
        "checkpoints  data/06_models",
        "MLflow       mlflow.db (make mlflow)",
    ]


def test_a_run_without_a_summary_shows_no_table_and_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host:5000")
    finish(tmp_path)
    assert capsys.readouterr().out == "MLflow       https://host:5000\n"
