"""Soft labels in the catalog: one safetensors file of logits, the labelling's facts in its header."""

from __future__ import annotations

import json

from kedro.io import AbstractDataset
from torch import Tensor

from knowledge_transfer.datasets.storage.checked_file import CheckedFile
from knowledge_transfer.learning.distillation.soft_labels import LabellingFacts, SoftLabels


class SoftLabelsDataset(CheckedFile[SoftLabels], AbstractDataset[SoftLabels, SoftLabels]):
    """SoftLabels at `filepath`."""

    def to_tensors(self, data: SoftLabels) -> tuple[dict[str, Tensor], str]:
        """Return logits and facts."""
        return {"logits": data.logits}, data.facts.model_dump_json()

    def from_tensors(self, tensors: dict[str, Tensor], facts: str) -> SoftLabels:
        """Return the soft labels."""
        return SoftLabels(tensors["logits"], LabellingFacts(**json.loads(facts)))
