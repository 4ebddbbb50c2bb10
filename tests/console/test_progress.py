"""What a run shows: a live table on a terminal, line by line elsewhere."""

import io
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
import rich
from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node
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
        tags=["training", "gpu"],
    )
    for name in ("resnet8", "vgg19")
)
LABEL = node(lambda: None, None, "soft_labels", name="label")
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


def epoch_event(model: str, epoch: int, epochs: int) -> events.EpochEnded:
    return events.EpochEnded(model, epoch, epochs, 1 / epoch, 0.5, 0.7, 0.853, 0.1, 1234.5, 65.0 * (epochs - epoch))


def fit(model: str, epochs: int) -> None:
    events.emit(events.FitStarted(model, epochs, 1257, 78042))
    for epoch in range(1, epochs + 1):
        events.emit(epoch_event(model, epoch, epochs))


def run_here(hooks: ProgressHooks, training: Node, epochs: int) -> None:
    """Run a node as the driver's own process does."""
    hooks.before_node_run(node=training)
    fit(training.name.removeprefix("student_training.train_"), epochs)
    hooks.after_node_run(node=training)


def resume_here(hooks: ProgressHooks) -> None:
    """Resume a fit after the first of three epochs; it emits no other epoch."""
    hooks.before_pipeline_run(pipeline=Pipeline([RESNET]))
    hooks.before_node_run(node=RESNET)
    events.emit(events.FitStarted("resnet8", 3, 1257, 78042))
    events.emit(events.FitResumed("resnet8", 1))
    hooks.after_node_run(node=RESNET)


def run_elsewhere(hooks: ProgressHooks) -> None:
    """Run two nodes in other processes; the first is killed and starts again."""
    hooks.on_run_started(pipeline=Pipeline([RESNET, LABEL]), devices=("cuda:0", "cuda:1"))
    hooks.on_node_started(node=RESNET, devices=("cuda:1",), attempt=1)
    hooks.on_node_event(node=RESNET, event=events.FitStarted("resnet8", 2, 1257, 78042))
    hooks.on_node_event(node=RESNET, event=epoch_event("resnet8", 1, 2))
    hooks.on_node_ended(node=RESNET, status="killed")
    hooks.on_node_started(node=RESNET, devices=("cuda:0",), attempt=2)
    hooks.on_node_event(node=RESNET, event=events.FitResumed("resnet8", 1))
    hooks.on_node_started(node=LABEL, devices=("cpu",), attempt=1)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    return screen_of(monkeypatch, width=120)


def screen_of(monkeypatch: pytest.MonkeyPatch, **size: int) -> io.StringIO:
    screen = io.StringIO()
    monkeypatch.setattr(rich, "_console", Console(file=screen, force_terminal=True, color_system=None, **size))
    return screen


def last_table(screen: io.StringIO) -> tuple[str, list[list[str]]]:
    """Return title and rows of the table as it was last drawn."""
    shown = re.sub(r"\x1b\[[?\d]*[a-zA-Z]", "", screen.getvalue())
    title = re.findall(r"\d+ of \d+ .* done.*", shown)[-1].strip()
    rows = [line.split("│")[1:-1] for line in shown.rpartition("┏")[2].splitlines() if line.startswith("│")]
    return title, [[cell.strip() for cell in row] for row in rows]


def test_a_log_file_has_every_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    hooks = ProgressHooks()
    hooks.before_pipeline_run(pipeline=Pipeline([RESNET, LABEL, VGG]))
    run_here(hooks, RESNET, 2)
    hooks.before_node_run(node=LABEL)
    hooks.after_node_run(node=LABEL)
    run_here(hooks, VGG, 1)
    resume_here(hooks)
    assert capsys.readouterr().out.splitlines() == [
        "[1/2] student_training  resnet8  2 epochs, 1,257 images, 78,042 parameters",
        "[1/2] student_training  resnet8  epoch 1/2  loss 1.000  validation 85.3%  1,234 images/s  0:01:05 left",
        "[1/2] student_training  resnet8  epoch 2/2  loss 0.500  validation 85.3%  1,234 images/s  done",
        "[2/2] student_training  vgg19  1 epochs, 1,257 images, 78,042 parameters",
        "[2/2] student_training  vgg19  epoch 1/1  loss 1.000  validation 85.3%  1,234 images/s  done",
        "[1/1] student_training  resnet8  3 epochs, 1,257 images, 78,042 parameters",
        "[1/1] student_training  resnet8  resumes after epoch 1",
    ]


def test_a_log_file_names_devices_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    hooks = ProgressHooks()
    run_elsewhere(hooks)
    hooks.on_node_ended(node=RESNET, status="finished")
    name = "student_training.train_resnet8"
    assert capsys.readouterr().out.splitlines() == [
        "2 nodes on cuda:0, cuda:1",
        f"[0/2] {name}  cuda:1  2 epochs, 1,257 images, 78,042 parameters",
        f"[0/2] {name}  cuda:1  epoch 1/2  loss 1.000  validation 85.3%  1,234 images/s  0:01:05 left",
        f"[0/2] {name}  cuda:1  killed after 0:00:00",
        f"[0/2] {name}  cuda:0  resumes after epoch 1",
        f"[1/2] {name}  cuda:0  finished after 0:00:00",
    ]


@pytest.mark.parametrize(("epochs", "lines"), [(12, 12), (13, 8), (50, 11), (350, 11)])
def test_a_long_fit_has_about_ten_lines(epochs: int, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    run_here(ProgressHooks(), RESNET, epochs)
    shown = [int(number) for number in re.findall(r"epoch +(\d+)/", capsys.readouterr().out)]
    assert len(shown) == lines
    assert (shown[0], shown[-1]) == (1, epochs)


def test_a_terminal_has_one_row_per_fit(terminal: io.StringIO) -> None:
    hooks = ProgressHooks()
    hooks.before_pipeline_run(pipeline=Pipeline([RESNET, VGG]))
    hooks.before_node_run(node=RESNET)
    for model in ("resnet8", "another"):  # of one node
        fit(model, 2)
    hooks.after_node_run(node=RESNET)
    hooks.before_node_run(node=VGG)
    events.emit(events.FitStarted("vgg19", 2, 8, 1))
    hooks.on_node_error(node=VGG)
    hooks.on_pipeline_error()
    values = ["2/2", "0.500", "85.3%", "1,234", "done 0:00:00"]
    assert last_table(terminal) == (
        "1 of 2 fits done",
        [
            ["student_training  resnet8", *values],
            ["student_training  another", *values],
            ["student_training  vgg19", *[""] * 4, "failed 0:00:00"],
        ],
    )
    assert terminal.getvalue().rindex(SHOW_CURSOR) > terminal.getvalue().rindex(HIDE_CURSOR)


def test_a_terminal_shows_where_a_fit_resumes(terminal: io.StringIO) -> None:
    resume_here(ProgressHooks())
    assert "resumes after epoch 1" in terminal.getvalue()


@pytest.mark.parametrize(
    ("width", "cells"),
    [
        (120, ["train_resnet8", "cuda:0", "1/2", "1.000", "85.3%", "1,234", "0:01:05"]),
        (80, ["train_resnet8", "cuda:0", "1/2", "85.3%", "0:01:05"]),
    ],
)
def test_a_terminal_shows_nodes_of_other_processes(
    width: int, cells: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, hooks = screen_of(monkeypatch, width=width), ProgressHooks()
    run_elsewhere(hooks)
    assert last_table(screen)[1][0][-1] == "resumes after epoch 1"
    hooks.on_node_event(node=RESNET, event=epoch_event("resnet8", 1, 2))
    assert last_table(screen) == ("0 of 2 nodes done, at label", [cells])
    hooks.on_node_ended(node=RESNET, status="finished")
    hooks.on_pipeline_error()
    assert last_table(screen) == ("1 of 2 nodes done, at label", [[*cells[:-1], "finished 0:00:00"]])
    assert screen.getvalue().rindex(SHOW_CURSOR) > screen.getvalue().rindex(HIDE_CURSOR), "the cursor is back"


def test_a_low_terminal_shows_what_runs_first(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, hooks = screen_of(monkeypatch, width=80, height=10), ProgressHooks()
    nodes = [node(print, None, f"out{n}", name=f"fit{n:02}", tags=["gpu"]) for n in range(20)]
    hooks.on_run_started(pipeline=Pipeline(nodes), devices=("cuda:0",))
    for each in nodes:
        hooks.on_node_started(node=each, devices=("cuda:0",), attempt=1)
        if each is not nodes[0]:
            hooks.on_node_ended(node=each, status="finished")
    names = [row[0] for row in last_table(screen)[1]]
    assert names[:2] == ["fit00", "fit19"], "it runs, and the last that ended"
    assert "fit05" not in names
    hooks.on_pipeline_error()
    assert [row[0] for row in last_table(screen)[1]] == [each.name for each in nodes]


def test_a_narrow_terminal_gets_every_word(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, hooks = screen_of(monkeypatch, width=80), ProgressHooks()
    hooks.before_pipeline_run(pipeline=Pipeline([RESNET]))
    run_here(hooks, RESNET, 1)
    shown = " ".join(cell for row in last_table(screen)[1] for cell in row)
    assert "…" not in shown
    assert sorted("".join(shown.split())) == sorted("student_trainingresnet81/11.00085.3%1,234done0:00:00")


def test_fits_in_threads_share_one_table(terminal: io.StringIO) -> None:
    hooks = ProgressHooks()
    hooks.before_pipeline_run(pipeline=Pipeline([RESNET, VGG]))
    threads = [threading.Thread(target=run_here, args=(hooks, each, 1)) for each in (RESNET, VGG)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hooks.on_pipeline_error()
    title, rows = last_table(terminal)
    assert title == "2 of 2 fits done"
    assert sorted(row[0] for row in rows) == ["student_training  resnet8", "student_training  vgg19"]


def test_a_process_without_the_pipeline_draws_nothing(
    terminal: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(ProgressHooks(), RESNET, 1)
    assert capsys.readouterr().out.startswith("student_training  resnet8"), "it knows no number of fits"
    assert terminal.getvalue() == ""


def test_a_run_after_an_interrupted_one_starts_anew(terminal: io.StringIO) -> None:
    hooks = ProgressHooks()
    for _ in range(2):
        hooks.on_run_started(pipeline=Pipeline([RESNET]), devices=("cuda:0",))
        hooks.on_node_started(node=RESNET, devices=("cuda:0",), attempt=1)
    assert last_table(terminal)[0] == "0 of 1 nodes done"
    hooks.on_pipeline_error()


@pytest.mark.parametrize("ending", ["after_node_run", "on_node_error"])
def test_later_fits_are_not_shown(ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    hooks = ProgressHooks()
    hooks.before_node_run(node=RESNET)
    getattr(hooks, ending)(node=RESNET)
    fit("resnet8", 2)
    assert capsys.readouterr().out == ""


def test_ctrl_c_gives_the_cursor_back() -> None:
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
    # By this rich takes the output for a terminal.
    environment = {**os.environ, "TTY_COMPATIBLE": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGINT
    assert HIDE_CURSOR in ended.stdout
    assert ended.stdout.rindex(SHOW_CURSOR) > ended.stdout.rindex(HIDE_CURSOR)
