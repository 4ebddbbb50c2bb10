"""The timeline of a run, however its nodes end."""

import json
from pathlib import Path
from typing import Any

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner
from kedro_datasets.json import JSONDataset

from knowledge_transfer.experiment.current import training_tags
from knowledge_transfer.hooks.timeline import TimelineHooks


def run(folder: Path, pipeline: Pipeline) -> None:
    names = [f"{prefix}timeline" for prefix in ("", "heterogeneous_")]
    catalog = DataCatalog({name: JSONDataset(filepath=str(folder / f"{name}.json")) for name in names})
    hooks = _create_hook_manager()
    hooks.register(TimelineHooks())
    hooks.hook.before_pipeline_run(run_params={}, pipeline=pipeline, catalog=catalog)
    SequentialRunner().run(pipeline, catalog, hooks)


def load(folder: Path, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{prefix}timeline.json").read_text())
    return found


@pytest.mark.parametrize("part", ["", "heterogeneous"])
def test_nodes_have_times_and_training_nodes_models(tmp_path: Path, part: str) -> None:
    prefix = f"{part}_" if part else ""
    checkpoint = f"{prefix}resnet8_round0_checkpoint"
    tags = training_tags("resnet8")
    train = node(lambda: 1, None, checkpoint, name="train", namespace="student_training", tags=tags)
    read = node(lambda *_: 1, [checkpoint, f"{prefix}timeline"], f"{prefix}answer", name="read")
    run(tmp_path, Pipeline([train, read], tags=f"part.{part}" if part else None))
    found = load(tmp_path, prefix)
    assert found["places"] == ["cpu"]
    first, second = found["nodes"]
    assert found["began"] <= first["started"] <= first["ended"] <= second["started"] <= second["ended"]
    assert [(each["node"], each["model"]) for each in found["nodes"]] == [
        ("student_training.train", "resnet8"),
        ("read", None),
    ]
    assert {(*each["places"], each["status"], each["attempt"]) for each in found["nodes"]} == {("cpu", "finished", 1)}


def test_a_node_reads_which_have_ended(tmp_path: Path) -> None:
    seen = []

    def read(_: object, timeline: dict[str, Any]) -> None:
        seen.extend((each["node"], each["status"]) for each in timeline["nodes"])
        raise RuntimeError("no")

    early = node(lambda: 1, None, "early", name="make_early")
    with pytest.raises(RuntimeError, match="no"):
        run(tmp_path, Pipeline([early, node(read, ["early", "timeline"], None, name="read")]))
    assert seen == [("make_early", "finished")]
    assert [(each["status"], each["ended"] is None) for each in load(tmp_path)["nodes"]] == [
        ("finished", False),
        ("failed", False),
    ]


def test_a_reader_meanwhile_finds_a_whole_timeline(tmp_path: Path) -> None:
    inodes = []

    def look(*_: object) -> int:
        inodes.append((tmp_path / "timeline.json").stat().st_ino)
        handles.append((tmp_path / "timeline.json").open())  # so that its number is not given to another file
        return 1

    handles: list[Any] = []
    first = node(look, "timeline", "first", name="first")
    run(tmp_path, Pipeline([first, node(look, ["first", "timeline"], "second", name="second")]))
    assert len(set(inodes)) == 2, "a new file replaces the old one"
    assert [each["node"] for each in json.load(handles[0])["nodes"]] == ["first"]
    for handle in handles:
        handle.close()


def test_a_run_that_reads_none_keeps_the_last(tmp_path: Path) -> None:
    (tmp_path / "timeline.json").write_text('{"nodes": "of then"}')
    run(tmp_path, Pipeline([node(lambda: 1, None, "answer", name="make")]))
    assert load(tmp_path) == {"nodes": "of then"}
