"""Image sets on disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kedro.io.core import DatasetError

from knowledge_transfer.datasets import ImageSetDataset
from knowledge_transfer.datasets.storage.checked_file import load_file, save
from tests.conftest import stripes


@pytest.mark.parametrize("groups", [None, torch.arange(12) // 3])
def test_everything_survives(tmp_path: Path, groups: torch.Tensor | None) -> None:
    saved = replace(stripes(12, channels=3), groups=groups, class_names=("Löwe", 'a "b"', "c"))
    dataset = ImageSetDataset(filepath=str(tmp_path / "a.safetensors"))
    assert not dataset.exists()
    dataset.save(saved)
    assert dataset.exists()
    loaded = dataset.load()
    assert loaded.sha256 == saved.sha256
    assert loaded.class_names == saved.class_names
    assert loaded.groups is None if groups is None else torch.equal(loaded.groups, groups)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what is mapped")
def test_local_images_are_mapped_and_never_changed(tmp_path: Path) -> None:
    dataset = ImageSetDataset(filepath=str(tmp_path / "a.safetensors"))
    dataset.save(saved := stripes(12))
    loaded = dataset.load()
    assert "a.safetensors" in Path("/proc/self/maps").read_text(), "the pixels are the file's own pages"
    loaded.images.zero_()
    assert dataset.load().sha256 == saved.sha256


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="asks Linux how much memory there is")
def test_a_file_larger_than_memory_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = Path("/proc/meminfo").read_text().splitlines()
    memory = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in about}
    count = (memory["MemTotal"] + memory["SwapTotal"]) // 3072 + 400_000
    entry = {"dtype": "U8", "shape": [count, 3, 32, 32], "data_offsets": [0, count * 3072]}
    labels = {"dtype": "I64", "shape": [0], "data_offsets": [count * 3072, count * 3072]}
    header = json.dumps({"__metadata__": {"facts": "{}", "sha256": "a"}, "images": entry, "labels": labels}).encode()
    file = tmp_path / "a.safetensors"
    with file.open("wb") as opened:  # a sparse file: it takes no room on the disk
        opened.write(len(header).to_bytes(8, "little") + header)
        opened.truncate(8 + len(header) + count * 3072)
    monkeypatch.setattr(
        "knowledge_transfer.datasets.storage.checked_file._digest", lambda *_: "a"
    )  # it would read all of it
    tensors, _ = load_file(file)
    assert len(tensors["images"]) == count
    assert not tensors["images"][-1].any()


def test_loaded_images_survive_changes_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    dataset = ImageSetDataset(filepath=str(file))
    dataset.save(saved := stripes(12))
    loaded = dataset.load()
    dataset.save(stripes(12, seed=5))
    file.unlink()
    assert replace(loaded).sha256 == saved.sha256


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (torch.tensor([0, 77]), '{"blocks": {"all": ["a", "b"]}}', "label 77 is outside the 2 classes"),
        (torch.tensor([0]), '{"blocks": {"all": ["a", "b"]}}', "2 images but labels"),
        (torch.tensor([0, 1]), "a, b", "Expecting value"),
        (torch.tensor([0, 1]), "3", "not subscriptable"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, labels: torch.Tensor, names: str, message: str) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(save({"images": torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "labels": labels}, names))
    with pytest.raises(
        DatasetError, match=rf"a\.safetensors is damaged, delete it and run its node again: .*{message}"
    ):
        ImageSetDataset(filepath=str(file)).load()


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(save({"logits": torch.zeros(2)}, "[]"))
    with pytest.raises(DatasetError, match=r"a\.safetensors is damaged"):
        ImageSetDataset(filepath=str(file)).load()
