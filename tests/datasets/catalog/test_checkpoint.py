"""Checkpoints on disk: each way to damage one is noticed, named, and makes Kedro produce it again."""

import hashlib
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DataCatalog
from kedro.io.core import DatasetError
from safetensors.torch import save

from knowledge_transfer.datasets import CheckpointDataset
from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.checkpoint_file import load
from knowledge_transfer.learning.models.network import weights_sha256
from tests import models


def checkpoint(seed: int = 0, **changes: Any) -> Checkpoint:
    known = {
        "round": 1, "mean": (0.1307,), "distillation": {"alpha": 0.9}, "parents": {"vgg19@0": "def"},
        "recipe": {"learning_rate": 0.1, "augmentation": {"crop": 3}, "milestones": (1, 2)},
        "metrics": {"validation_accuracy": 1 / 3},
    }  # fmt: skip
    return models.checkpoint(seed, ({"epoch": 1, "loss": 0.625},), **{**known, **changes})


@pytest.fixture
def dataset(tmp_path: Path) -> CheckpointDataset:
    return CheckpointDataset(filepath=str(tmp_path / "a.safetensors"))


@pytest.fixture
def members(tmp_path: Path) -> CheckpointDataset:
    return CheckpointDataset(filepath=str(tmp_path / "a.safetensors"), several=True)


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def flip(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


def with_facts(content: bytes, old: str, new: str) -> bytes:
    """The file with other words in its header, of the same length, and a hash that vouches for them."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    text = header["checkpoints"]
    assert text.count(old)
    assert len(old) == len(new)
    other = text.replace(old, new)
    escaped = (json.dumps(each)[1:-1].encode() for each in (text, other))
    content = content.replace(*escaped)
    sha256 = (hashlib.sha256(each.encode()).hexdigest().encode() for each in (text, other))
    return content.replace(*sha256)


# The damage, and the message when the file is read or the network is built.
DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is missing or empty: run the node"),
    "cut in the header": (lambda content: content[:90], "is damaged, delete it and run"),
    "cut in the weights": (lambda content: content[:-1], "is damaged, delete it and run"),
    "not this kind of file": (lambda _: b"no such thing", "is damaged, delete it and run"),
    "a bit of the length": (lambda content: flip(content, 6), "is damaged, delete it and run"),
    "a bit of a weight": (lambda content: flip(content, -1), "the weights of resnet8@1 are not those"),
    "a bit of the facts": (lambda content: content.replace(b"0.1307", b"0.1306"), "its header is not the one"),
    "a bit of the curve": (lambda content: content.replace(b"0.625", b"0.626"), "its header is not the one"),
    "a misspelt fact": (
        lambda content: with_facts(content, '"parameters"', '"paramters_"'),
        "did you mean 'parameters'",
    ),
    "facts of other weights": (
        lambda content: with_facts(content, checkpoint().sha256, checkpoint(seed=1).sha256),
        "the weights of resnet8@1 are not those",
    ),
}


def test_weights_facts_and_curve_survive(dataset: CheckpointDataset, tmp_path: Path) -> None:
    saved = checkpoint()
    assert not dataset.exists()
    dataset.save(saved)
    assert dataset.exists()
    for loaded in (dataset.load(), load(tmp_path / "a.safetensors")):
        assert loaded.facts.model_dump_json() == saved.facts.model_dump_json()
        assert (loaded.sha256, loaded.curve) == (saved.sha256, saved.curve)
        assert {tensor.ndim for name, tensor in loaded.state.items() if name.endswith("num_batches_tracked")} == {0}
        loaded.build()
    assert names(tmp_path) == ["a.safetensors"]


def test_facts_are_read_without_the_weights(dataset: CheckpointDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.save(checkpoint())
    ends = []
    read = Store.read
    monkeypatch.setattr(Store, "read", lambda store, start, end: ends.append(end) or read(store, start, end))
    loaded = dataset.load()
    assert loaded.facts.name == "resnet8"
    assert None not in ends
    loaded.build()
    assert ends[-1] is None


def test_half_precision_weights_survive(dataset: CheckpointDataset) -> None:
    state = {"weight": torch.linspace(0, 1, 7, dtype=torch.bfloat16), "count": torch.tensor(3)}
    saved = Checkpoint(Facts(**{**checkpoint().facts.model_dump(), "sha256": weights_sha256(state)}), state)
    dataset.save(saved)
    loaded = dataset.load().state
    assert all(torch.equal(loaded[name], state[name]) and loaded[name].dtype == state[name].dtype for name in state)


@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_named_and_made_again(dataset: CheckpointDataset, tmp_path: Path, damage: str) -> None:
    dataset.save(checkpoint())
    file = tmp_path / "a.safetensors"
    harm, message = DAMAGES[damage]
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises((DatasetError, ValueError), match=rf"(?s)a\.safetensors .*{message}"):
        dataset.load().build()
    assert not dataset.exists()
    dataset.save(checkpoint())
    assert dataset.exists()


def test_members_survive_in_their_places(members: CheckpointDataset, tmp_path: Path) -> None:
    saved = [checkpoint(seed, name=name) for seed, name in enumerate("zab" * 4)]
    assert not members.exists()
    members.save(saved)
    assert members.exists()
    for before, after in zip(saved, members.load(), strict=True):
        assert after.facts.model_dump(mode="json") == before.facts.model_dump(mode="json")
        assert torch.equal(after.build()(torch.ones(1, 1, 32, 32)), before.build()(torch.ones(1, 1, 32, 32)))
    with pytest.raises(DatasetError, match=r"a\.safetensors holds 12 checkpoints, not one"):
        CheckpointDataset(filepath=str(tmp_path / "a.safetensors")).load()


def test_a_damaged_member_is_found(members: CheckpointDataset, tmp_path: Path) -> None:
    members.save([checkpoint(0), checkpoint(1)])
    file = tmp_path / "a.safetensors"
    file.write_bytes(flip(file.read_bytes(), -1))
    assert not members.exists()


def test_facts_of_other_weights_are_not_saved(dataset: CheckpointDataset, tmp_path: Path) -> None:
    for data in (checkpoint(sha256="0" * 64), [checkpoint(), Checkpoint(checkpoint(1).facts, checkpoint().state)]):
        with pytest.raises(DatasetError, match="the facts of resnet8@1 name another sha256"):
            dataset.save(data)
    assert names(tmp_path) == []


def test_writers_side_by_side_never_mix(dataset: CheckpointDataset, tmp_path: Path) -> None:
    several = [checkpoint(seed) for seed in range(4)]
    known = {one.sha256: one.facts.seed for one in several}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(dataset.save, several * 4))
    assert names(tmp_path) == ["a.safetensors"]
    loaded = dataset.load()
    assert known[loaded.sha256] == loaded.facts.seed
    loaded.build()


def test_the_catalog_passes_the_plain_message_on(tmp_path: Path) -> None:
    config = {"type": "knowledge_transfer.datasets.CheckpointDataset", "filepath": str(tmp_path / "a.safetensors")}
    catalog = DataCatalog.from_config({"a_checkpoint": config})
    with pytest.raises(DatasetError) as error:
        catalog.load("a_checkpoint")
    assert (
        str(error.value)
        == f"a_checkpoint: {tmp_path / 'a.safetensors'} is missing or empty: run the node that makes it"
    )
    assert not catalog.exists("a_checkpoint")


def test_a_loaded_checkpoint_can_be_pickled(dataset: CheckpointDataset, tmp_path: Path) -> None:
    dataset.save(checkpoint())
    loaded = load(tmp_path / "a.safetensors")
    again = pickle.loads(pickle.dumps(loaded))
    assert (again.facts, again.curve) == (loaded.facts, loaded.curve)
    assert all(torch.equal(again.state[name], tensor) for name, tensor in loaded.state.items())


def test_a_file_of_an_earlier_version_is_named_so(dataset: CheckpointDataset, tmp_path: Path) -> None:
    """Its facts stood alone in the header; it is whole, but nothing here reads it."""
    (tmp_path / "a.safetensors").write_bytes(save({"weight": torch.ones(1)}, {"facts": "{}", "sha256": "0"}))
    with pytest.raises(DatasetError, match="an earlier version of the project wrote it"):
        dataset.load()
    assert not dataset.exists()
