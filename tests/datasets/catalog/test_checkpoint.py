"""Checkpoints on disk: each way to damage one is noticed, named, and makes Kedro produce it again."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DataCatalog
from kedro.io.core import DatasetError

from knowledge_transfer.datasets import CheckpointDataset
from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import build
from knowledge_transfer.learning.models.weights import cpu_state, weights_sha256

NAMES = ("cat", "dog", "bird")
ARCHITECTURE = Architecture(kind="resnet8", width=0.25)


def checkpoint(seed: int = 0, **facts: Any) -> Checkpoint:
    torch.manual_seed(seed)
    network = build(ARCHITECTURE, classes=3, channels=1, image_size=32, mean=(0.5,), deviation=(0.3,))
    state = cpu_state(network)
    known = {
        "name": "resnet8",
        "round": 1,
        "architecture": ARCHITECTURE,
        "class_names": NAMES,
        "channels": 1,
        "image_size": 32,
        "mean": (0.1307,),
        "deviation": (0.3081,),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "seed": seed,
        "images_sha256": "abc",
        "recipe": {"learning_rate": 0.1, "augmentation": {"crop": 3}, "milestones": (1, 2)},
        "distillation": {"alpha": 0.9},
        "parents": {"vgg19@0": "def"},
        "metrics": {"validation_accuracy": 1 / 3},
        "sha256": weights_sha256(state),
    }
    return Checkpoint(Facts(**{**known, **facts}), state)


@pytest.fixture
def dataset(tmp_path: Path) -> CheckpointDataset:
    return CheckpointDataset(filepath=str(tmp_path / "a.safetensors"))


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def flip(file: Path, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


def rewrite(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    facts = json.loads(file.read_text())
    change(facts)
    file.write_text(json.dumps(facts))


def swap(folder: Path) -> None:
    CheckpointDataset(filepath=str(folder / "b.safetensors")).save(checkpoint(seed=1))
    (folder / "b.json").replace(folder / "a.json")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda at: (at / "a.safetensors").unlink(), r"a\.safetensors is missing or empty: run the node"),
    "no facts": (lambda at: (at / "a.json").unlink(), r"a\.json is missing or empty: run the node"),
    "empty weights": (lambda at: (at / "a.safetensors").write_bytes(b""), r"a\.safetensors is missing or empty"),
    "empty facts": (lambda at: (at / "a.json").write_bytes(b""), r"a\.json is missing or empty"),
    "cut weights": (lambda at: os.truncate(at / "a.safetensors", 900), r"a\.safetensors is damaged, delete it and run"),
    "cut facts": (lambda at: os.truncate(at / "a.json", 90), r"a\.json is damaged, delete it and run"),
    "facts of no text": (lambda at: (at / "a.json").write_bytes(b"\xff\xfe"), r"a\.json is damaged, delete it and run"),
    "facts of no mapping": (lambda at: (at / "a.json").write_text("[1]"), r"a\.json is damaged, delete it and run"),
    "a bit of a weight": (lambda at: flip(at / "a.safetensors", -1), r"a\.safetensors is damaged, delete it and run"),
    "a bit of the mean": (
        lambda at: rewrite(at / "a.json", lambda facts: facts.update(mean=[0.1306])),
        r"a\.json is damaged or speaks of other weights than .*a\.safetensors: delete both and run",
    ),
    "a misspelt fact": (
        lambda at: rewrite(at / "a.json", lambda facts: facts.update(paramters=facts.pop("parameters"))),
        r"(?s)a\.json is damaged, delete it .*did you mean 'parameters'",
    ),
    "another's facts": (swap, r"a\.json is damaged or speaks of other weights"),
}


def test_weights_and_facts_survive(dataset: CheckpointDataset, tmp_path: Path) -> None:
    saved = checkpoint()
    assert not dataset.exists()
    dataset.save(saved)
    assert dataset.exists()
    loaded = dataset.load()
    assert loaded.facts.model_dump_json() == saved.facts.model_dump_json()
    assert loaded.sha256 == saved.sha256
    assert {tensor.ndim for name, tensor in loaded.state.items() if name.endswith("num_batches_tracked")} == {0}
    loaded.build()
    assert names(tmp_path) == ["a.json", "a.safetensors"]


def test_half_precision_weights_survive(dataset: CheckpointDataset) -> None:
    state = {"weight": torch.linspace(0, 1, 7, dtype=torch.bfloat16), "count": torch.tensor(3)}
    saved = Checkpoint(Facts(**{**checkpoint().facts.model_dump(), "sha256": weights_sha256(state)}), state)
    dataset.save(saved)
    loaded = dataset.load().state
    assert all(torch.equal(loaded[name], state[name]) and loaded[name].dtype == state[name].dtype for name in state)


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_named_and_made_again(dataset: CheckpointDataset, tmp_path: Path, damage: str) -> None:
    dataset.save(checkpoint())
    harm, message = DAMAGES[damage]
    harm(tmp_path)
    with pytest.raises(DatasetError, match=message):
        dataset.load()
    assert not dataset.exists()
    dataset.save(checkpoint())
    assert dataset.exists()


def test_killed_between_the_two_writes(
    dataset: CheckpointDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.save(checkpoint())
    write = Store.write

    def killed(store: Store, data: bytes) -> None:
        if store.path.endswith(".json"):
            raise KeyboardInterrupt
        write(store, data)

    monkeypatch.setattr(Store, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        dataset.save(checkpoint(seed=1))
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="speaks of other weights"):
        dataset.load()
    assert names(tmp_path) == ["a.json", "a.safetensors"]


def test_facts_of_other_weights_are_not_saved(dataset: CheckpointDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the facts of resnet8@1 name another sha256"):
        dataset.save(checkpoint(sha256="0" * 64))
    assert names(tmp_path) == []


def test_writers_side_by_side_never_mix(dataset: CheckpointDataset, tmp_path: Path) -> None:
    several = [checkpoint(seed) for seed in range(4)]
    known = {one.sha256: one.facts.seed for one in several}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(dataset.save, several * 4))
    assert names(tmp_path) == ["a.json", "a.safetensors"]
    if dataset.exists():  # else the last two writers crossed, which is noticed
        loaded = dataset.load()
        assert known[loaded.sha256] == loaded.facts.seed


def test_weights_are_not_written_where_the_facts_go(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.json is the name of the facts"):
        CheckpointDataset(filepath=str(tmp_path / "a.json"))


def test_the_catalog_passes_the_plain_message_on(tmp_path: Path) -> None:
    config = {"type": "knowledge_transfer.datasets.CheckpointDataset", "filepath": str(tmp_path / "a.safetensors")}
    catalog = DataCatalog.from_config({"a_checkpoint": config})
    with pytest.raises(DatasetError) as error:
        catalog.load("a_checkpoint")
    assert str(error.value) == f"a_checkpoint: {tmp_path / 'a.json'} is missing or empty: run the node that makes it"
    assert not catalog.exists("a_checkpoint")
