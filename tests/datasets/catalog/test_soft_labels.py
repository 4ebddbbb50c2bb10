"""Soft labels on disk."""

from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io.core import DatasetError

from knowledge_transfer.datasets import SoftLabelsDataset
from knowledge_transfer.datasets.storage.checked_file import save
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.distillation.soft_labels import LabellingFacts, SoftLabels


def soft_labels(**facts: Any) -> SoftLabels:
    known = {
        "teachers": {"z@0": "1", "a@0": "2"},
        "images_sha256": "3",
        "class_names": ("cat", "dog", "Löwe"),
        "views": 4,
        "view_seed": 5,
        "augmentation": Augmentation(crop=3, flip=True),
    }
    logits = torch.randn(2, 6, 4, 3, generator=torch.Generator().manual_seed(0)).half()
    return SoftLabels(logits, LabellingFacts(**{**known, **facts}))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a_soft_labels.safetensors"


def test_everything_survives(file: Path) -> None:
    dataset, saved = SoftLabelsDataset(filepath=str(file)), soft_labels()
    assert not dataset.exists()
    dataset.save(saved)
    assert dataset.exists()
    loaded = dataset.load()
    assert loaded.facts == saved.facts
    assert loaded.members == ("z@0", "a@0")  # the order of the logits, not of the alphabet
    assert loaded.logits.dtype == torch.float16
    assert torch.equal(loaded.logits, saved.logits)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (soft_labels().facts.model_copy(update={"views": 3}).model_dump_json(), "by their facts"),
        (soft_labels().facts.model_copy(update={"teachers": {"a@0": "2"}}).model_dump_json(), "by their facts"),
        (soft_labels().facts.model_dump_json().replace("view_seed", "view_sead"), "did you mean 'view_seed'"),
        ("[]", "must be a mapping"),
    ],
)
def test_facts_of_other_logits_are_refused(file: Path, facts: str, message: str) -> None:
    file.write_bytes(save({"logits": soft_labels().logits}, facts))
    with pytest.raises(DatasetError, match=rf"(?s)a_soft_labels\.safetensors is damaged, .*{message}"):
        SoftLabelsDataset(filepath=str(file)).load()
