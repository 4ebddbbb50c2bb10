"""Members that are kept together: all of them whole, in their order, or none."""

import re

import pytest
import torch
from kedro.io.core import DatasetError

from knowledge_transfer.datasets import CheckpointsDataset
from knowledge_transfer.datasets.storage.safetensors import seal
from knowledge_transfer.learning.checkpoint import Checkpoint
from tests.datasets.catalog.test_checkpoint import checkpoint


@pytest.fixture
def dataset(tmp_path):
    return CheckpointsDataset(filepath=str(tmp_path / "a.safetensors"))


def test_every_member_survives_in_its_place(dataset):
    saved = [checkpoint(seed, name=name) for seed, name in enumerate("zab" * 4)]
    assert not dataset.exists()
    dataset.save(saved)
    assert dataset.exists()
    for before, after in zip(saved, dataset.load(), strict=True):
        assert after.facts.model_dump(mode="json") == before.facts.model_dump(mode="json")
        assert after.sha256 == before.sha256
        assert torch.equal(after.build()(torch.ones(1, 1, 32, 32)), before.build()(torch.ones(1, 1, 32, 32)))


def test_a_damaged_file_is_named_and_made_again(dataset, tmp_path):
    dataset.save([checkpoint(0), checkpoint(1)])
    file = tmp_path / "a.safetensors"
    content = file.read_bytes()
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1]), content.replace(b"resnet8", b"resnet9")):
        file.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"a\.safetensors is damaged, delete it and run its node again"):
            dataset.load()
        assert not dataset.exists()
    file.write_bytes(seal({"1/weight": torch.ones(1)}, "[{}]"))
    with pytest.raises(DatasetError, match="damaged"):
        dataset.load()


def test_facts_of_other_weights_are_not_saved_nor_believed(dataset, tmp_path):
    one, other = checkpoint(0), checkpoint(1)
    with pytest.raises(DatasetError, match="resnet8@1 name another sha256"):
        dataset.save([one, Checkpoint(other.facts, one.state)])
    assert not dataset.exists()
    tensors = {f"0/{name}": tensor for name, tensor in one.state.items()}
    (tmp_path / "a.safetensors").write_bytes(seal(tensors, f"[{other.facts.model_dump_json()}]"))
    with pytest.raises(DatasetError, match=re.escape("resnet8@1 has other weights than its facts say")):
        dataset.load()
