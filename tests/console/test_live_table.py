"""What a run shows while nodes run side by side, on a terminal and in a log file, and to kedro-viz."""

from __future__ import annotations

import atexit
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import rich
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node
from rich.console import Console

from knowledge_transfer.console.live_table import BoardHooks
from knowledge_transfer.hooks.viz_status import RunStatusHooks
from knowledge_transfer.learning.training.events import EpochEnded, FitResumed, FitStarted

TRAIN = node(print, "a", "b", name="train_resnet8", tags=["training", "gpu"])
TABLE = node(print, "b", "c", name="table")
EPOCH = EpochEnded("resnet8", 1, 2, 0.5, 0.5, 0.7, 0.853, 0.1, 1234.5, 65.0)


def tell(hooks: BoardHooks) -> None:
    hooks.on_run_placed(pipeline=Pipeline([TRAIN, TABLE]), places=("cuda:0", "cuda:1"))
    hooks.on_node_started(node=TRAIN, places=("cuda:1",), attempt=1)
    hooks.on_node_told(node=TRAIN, event=FitStarted("resnet8", 2, 1257, 78042))
    hooks.on_node_told(node=TRAIN, event=EPOCH)
    hooks.on_node_ended(node=TRAIN, status="killed")
    hooks.on_node_started(node=TRAIN, places=("cuda:0",), attempt=2)
    hooks.on_node_told(node=TRAIN, event=FitResumed("resnet8", 1))
    hooks.on_node_started(node=TABLE, places=("cpu",), attempt=1)


def test_a_log_file_hears_where_each_node_is_and_how_far(capsys: pytest.CaptureFixture[str]) -> None:
    hooks = BoardHooks()
    tell(hooks)
    hooks.on_node_ended(node=TRAIN, status="finished")
    assert capsys.readouterr().out.splitlines() == [
        "2 nodes on cuda:0, cuda:1",
        "[0/2] train_resnet8  cuda:1  2 epochs, 1,257 images, 78,042 parameters",
        "[0/2] train_resnet8  cuda:1  epoch 1/2  loss 0.500  validation 85.3%  1,234 images/s  0:01:05 left",
        "[0/2] train_resnet8  cuda:1  killed after 0:00:00",
        "[0/2] train_resnet8  cuda:0  goes on after epoch 1",
        "[1/2] train_resnet8  cuda:0  finished after 0:00:00",
    ]


def test_a_low_and_narrow_terminal_shows_what_runs_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    small = Console(file=screen, force_terminal=True, width=80, height=10, color_system=None)
    monkeypatch.setattr(rich, "_console", small)
    hooks = BoardHooks()
    fits = [node(print, "a", f"b{n}", name=f"fit_{n:02}", namespace="student_training", tags=["gpu"]) for n in range(9)]
    hooks.on_run_placed(pipeline=Pipeline(fits), places=("cpu:0",))
    for fit in fits:
        hooks.on_node_started(node=fit, places=("cpu:0",), attempt=1)
        hooks.on_node_told(node=fit, event=EPOCH)
        if fit is not fits[-1]:
            hooks.on_node_ended(node=fit, status="finished")
    last = screen.getvalue().rpartition("of 9 nodes done")[2]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in last.splitlines() if "fit_" in line]
    assert rows[0] == ["fit_08", "cpu:0", "1/2", "85.3%", "0:01:05"]
    assert rows[1][0] == "fit_07"
    hooks.after_pipeline_run()
    whole = screen.getvalue().rpartition("of 9 nodes done")[2]
    assert re.findall(r"fit_\d\d", whole) == [fit.name.rpartition(".")[2] for fit in fits]


def test_a_terminal_has_a_table_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(rich, "_console", Console(file=screen, force_terminal=True, width=120, color_system=None))
    hooks = BoardHooks()
    tell(hooks)
    hooks.on_node_told(node=TRAIN, event=EPOCH)
    shown = screen.getvalue()
    row = next(line for line in reversed(shown.splitlines()) if "train_resnet8" in line)
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    assert cells == ["train_resnet8", "cuda:0", "1/2", "0.500", "85.3%", "1,234", "0:01:05"]
    hooks.on_node_ended(node=TRAIN, status="finished")
    hooks.after_pipeline_run()
    last = re.sub(r"\x1b\[[?\d]*[a-zA-Z]", "", screen.getvalue()).splitlines()
    assert any("1 of 2 nodes done" in line for line in last)
    assert "finished 0:00:0" in screen.getvalue()
    assert screen.getvalue().rindex("\x1b[?25h") > screen.getvalue().rindex("\x1b[?25l"), "the cursor is back"


def test_a_small_terminal_shows_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, height=10, color_system=None)
    monkeypatch.setattr(rich, "_console", console)
    hooks = BoardHooks()
    nodes = [node(print, None, f"out{number}", name=f"fit{number:02}", tags=["gpu"]) for number in range(20)]
    hooks.on_run_placed(pipeline=Pipeline(nodes), places=("cuda:0",))
    for each in nodes:
        hooks.on_node_started(node=each, places=("cuda:0",), attempt=1)
        if each is not nodes[0]:
            hooks.on_node_ended(node=each, status="finished")
    last = screen.getvalue()[screen.getvalue().rindex("19 of 20 nodes done") :]
    assert "fit00" in last, "it runs"
    assert "fit19" in last, "the last that ended"
    assert "fit05" not in last
    hooks.after_pipeline_run()
    last = screen.getvalue()[screen.getvalue().rindex("19 of 20 nodes done") :]
    assert all(each.name in last for each in nodes)


RUNNER = "<knowledge_transfer.runners.local.runner.DeviceRunner object>"


@pytest.mark.parametrize(("params", "is_written"), [({}, True), ({"to_nodes": ["table"]}, False)])
def test_kedro_viz_finds_the_status_of_a_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict[str, object], is_written: bool
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\npackage_name = 'p'\nproject_name = 'p'\n")
    monkeypatch.chdir(tmp_path)
    hooks = RunStatusHooks()
    hooks.before_pipeline_run(run_params={**params, "runner": RUNNER}, catalog=DataCatalog({"a": MemoryDataset(1)}))
    hooks.on_run_placed()
    hooks.on_node_started(node=TRAIN)
    hooks.on_node_ended(node=TRAIN, status="finished", error=None)
    hooks.on_node_started(node=TABLE)
    hooks.on_node_ended(node=TABLE, status="failed", error="no")
    hooks.on_pipeline_error(error=RuntimeError("table failed: no"))
    file = tmp_path / ".viz" / "kedro_pipeline_events.json"
    assert file.exists() is is_written
    if is_written:
        events = json.loads(file.read_text())
        assert [each["event"] for each in events] == [
            "before_pipeline_run",
            "after_dataset_loaded",
            "after_dataset_saved",
            "after_node_run",
            "on_node_error",
            "on_pipeline_error",
        ]
        assert events[3]["node"] == "train_resnet8"
        assert events[3]["status"] == "success"


def test_kedro_viz_finds_the_status_of_nodes_that_ran_in_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\npackage_name = 'p'\nproject_name = 'p'\n")
    monkeypatch.chdir(tmp_path)
    hooks = RunStatusHooks()
    hooks.before_pipeline_run(run_params={"runner": RUNNER}, catalog=DataCatalog({"a": MemoryDataset(1)}))
    hooks.before_node_run(node=TRAIN)
    hooks.after_node_run(node=TRAIN)
    hooks.before_node_run(node=TABLE)
    hooks.on_node_error(node=TABLE, error=ValueError("no"))
    events = json.loads((tmp_path / ".viz" / "kedro_pipeline_events.json").read_text())
    assert [each["event"] for each in events if "node" in each] == ["after_node_run", "on_node_error"]


def test_kedro_viz_does_not_take_an_interrupted_run_for_a_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\npackage_name = 'p'\nproject_name = 'p'\n")
    monkeypatch.chdir(tmp_path)
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.setattr(atexit, "unregister", lambda each: at_exit.remove(each) if each in at_exit else None)
    hooks = RunStatusHooks()
    hooks.before_pipeline_run(run_params={"runner": RUNNER}, catalog=DataCatalog({}))
    (interrupted,) = at_exit
    interrupted()
    events = json.loads((tmp_path / ".viz" / "kedro_pipeline_events.json").read_text())
    assert [each["event"] for each in events] == ["before_pipeline_run", "on_pipeline_error"]
    hooks.after_pipeline_run()
    assert at_exit == []


def test_a_run_of_kedros_own_runner_is_left_to_kedro_viz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kedro]\npackage_name = 'p'\nproject_name = 'p'\n")
    monkeypatch.chdir(tmp_path)
    hooks = RunStatusHooks()
    hooks.before_pipeline_run(run_params={}, catalog=DataCatalog({}))
    hooks.after_pipeline_run()
    assert not (tmp_path / ".viz").exists()
