"""A fit whose process is killed goes on from its last epoch, and an older run's snapshot is forgotten."""

from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node

from knowledge_transfer.datasets import CheckpointDataset
from knowledge_transfer.errors import RunError
from knowledge_transfer.hooks.snapshots import SnapshotHooks
from knowledge_transfer.learning.training import resume


@pytest.fixture
def training(tmp_path: Path) -> tuple[Any, DataCatalog, Path]:
    output = "resnet8_round0_checkpoint"
    catalog = DataCatalog({output: CheckpointDataset(filepath=str(tmp_path / "resnet8.safetensors"))})
    return node(lambda: None, None, output, name="train_resnet8", tags=["training"]), catalog, tmp_path


def test_a_fit_keeps_its_snapshot_beside_the_checkpoint(training: tuple[Any, DataCatalog, Path]) -> None:
    fit, catalog, folder = training
    hooks = SnapshotHooks()
    hooks.before_node_run(node=fit, catalog=catalog)
    target = resume.snapshot_target()
    assert target is not None
    assert target.store.read() is None
    target.store.write(b"epoch 1")
    assert [file.name for file in folder.iterdir()] == ["resnet8.snapshot"]
    assert target.store.read() == b"epoch 1"
    hooks.after_node_run(node=fit)
    assert target.store.read() == b"epoch 1", "the checkpoint is not there yet"
    hooks.after_dataset_saved(dataset_name=fit.outputs[0])
    assert target.store.read() is None
    assert resume.snapshot_target() is None


@pytest.mark.parametrize(("goes_on", "left"), [(True, b"epoch 1"), (False, None)])
def test_only_a_resumed_run_finds_earlier_snapshots(
    training: tuple[Any, DataCatalog, Path], goes_on: bool, left: bytes | None
) -> None:
    fit, catalog, folder = training
    (folder / "resnet8.snapshot").write_bytes(b"epoch 1")
    hooks = SnapshotHooks()
    hooks.before_pipeline_run(run_params={"only_missing_outputs": goes_on}, pipeline=Pipeline([fit]), catalog=catalog)
    hooks.before_node_run(node=fit, catalog=catalog)
    target = resume.snapshot_target()
    assert target is not None
    assert target.store.read() == left
    hooks.after_node_run(node=fit)


def test_a_fit_that_fails_leaves_its_snapshot(training: tuple[Any, DataCatalog, Path]) -> None:
    fit, catalog, _ = training
    hooks = SnapshotHooks()
    hooks.before_node_run(node=fit, catalog=catalog)
    target = resume.snapshot_target()
    assert target is not None
    target.store.write(b"epoch 1")
    hooks.on_node_error(node=fit)
    assert resume.snapshot_target() is None
    assert target.store.read() == b"epoch 1"


def test_a_refused_run_deletes_no_snapshot(training: tuple[Any, DataCatalog, Path]) -> None:
    fit, catalog, folder = training
    (folder / "resnet8.snapshot").write_bytes(b"epoch 1")
    hooks = SnapshotHooks()
    hooks.before_pipeline_run(run_params={}, pipeline=Pipeline([fit]), catalog=catalog)
    assert (folder / "resnet8.snapshot").exists()
    hooks.on_run_started()
    assert not (folder / "resnet8.snapshot").exists()


def test_an_interval_that_is_no_number_is_refused(
    training: tuple[Any, DataCatalog, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, catalog, _ = training
    monkeypatch.setenv("KNOWLEDGE_TRANSFER_SNAPSHOT_SECONDS", "often")
    with pytest.raises(RunError, match="KNOWLEDGE_TRANSFER_SNAPSHOT_SECONDS is a number of seconds, got 'often'"):
        SnapshotHooks().before_pipeline_run(run_params={}, pipeline=Pipeline([fit]), catalog=catalog)


def test_a_checkpoint_in_memory_has_no_snapshot(training: tuple[Any, DataCatalog, Path]) -> None:
    fit, _, _ = training
    hooks = SnapshotHooks()
    hooks.before_node_run(node=fit, catalog=DataCatalog({fit.outputs[0]: MemoryDataset()}))
    assert resume.snapshot_target() is None
