"""Every dataset of the project at addresses that are no local paths."""

from pathlib import Path
from typing import Any

import pytest
from kedro.io import AbstractDataset, DataCatalog
from kedro.io.core import DatasetError

from tests.bucket import KEY, Bucket
from tests.conftest import stripes
from tests.datasets.catalog.test_checkpoint import checkpoint
from tests.datasets.catalog.test_soft_labels import soft_labels

# What is saved first, what is saved over it, and what distinguishes them.
DATASETS: dict[str, tuple[Any, Any, Any]] = {
    "ImageSetDataset": (stripes(6), stripes(9), lambda images: images.sha256),
    "CheckpointDataset": (checkpoint(0), checkpoint(1), lambda loaded: loaded.facts.sha256),
    "SoftLabelsDataset": (soft_labels(view_seed=1), soft_labels(view_seed=2), lambda labels: labels.facts),
}


def dataset_at(kind: str, filepath: str, **options: Any) -> AbstractDataset[Any, Any]:
    config = {"type": f"knowledge_transfer.datasets.{kind}", "filepath": filepath, **options}
    return DataCatalog.from_config({"it": config})["it"]


@pytest.mark.parametrize("kind", DATASETS)
@pytest.mark.parametrize(("where", "options"), [("memory://b/c", {}), ("bucket://b/c", {"credentials": KEY})])
def test_what_is_saved_over_something_else_is_loaded(kind: str, where: str, options: dict[str, Any]) -> None:
    first, second, telling = DATASETS[kind]
    address = f"{where}/{kind}.safetensors"
    dataset = dataset_at(kind, address, **options)
    assert not dataset.exists()
    for each in (first, second):
        dataset.save(each)
        assert dataset.exists()
        assert telling(dataset.load()) == telling(each)
    assert dataset._describe()["filepath"] == address


@pytest.mark.parametrize("kind", DATASETS)
def test_messages_name_the_whole_address(kind: str) -> None:
    dataset = dataset_at(kind, f"bucket://b/{kind}/broken.safetensors", credentials=KEY)
    with pytest.raises(DatasetError, match=rf"bucket://b/{kind}/broken\.safetensors is missing or empty: run"):
        dataset.load()
    Bucket(**KEY).pipe_file(f"b/{kind}/broken.safetensors", b"no such thing")
    with pytest.raises(DatasetError, match=rf"bucket://b/{kind}/broken\.safetensors is damaged"):
        dataset.load()
    assert not dataset.exists()


@pytest.mark.parametrize("kind", ["ImageSetDataset", "SoftLabelsDataset"])
def test_a_damaged_file_is_named_and_missing(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "a.safetensors"
    dataset = dataset_at(kind, str(file))
    dataset.save(DATASETS[kind][0])
    data = file.read_bytes()
    flipped = [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in (100, len(data) - 1)]
    for damaged in (data[:-1], *flipped, b"no tensors at all"):
        file.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"a\.safetensors is damaged, delete it and run its node again"):
            dataset.load()
        assert not dataset.exists()


@pytest.mark.parametrize("kind", DATASETS)
def test_a_refused_key_is_no_missing_file(kind: str) -> None:
    """Its node would run again, for hours."""
    with pytest.raises(DatasetError, match="no key to b/"):
        dataset_at(kind, "bucket://b/a.safetensors", credentials={"key": "another's"}).exists()


def test_local_paths_stay_plain(tmp_path: Path) -> None:
    for prefix in ("", "file://"):
        dataset = dataset_at("ImageSetDataset", f"{prefix}{tmp_path}/a.safetensors")
        assert dataset._describe()["filepath"] == f"{tmp_path}/a.safetensors"
