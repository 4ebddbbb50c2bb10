"""What models answered on the validation and the test set, and ensembles made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import fuse
from knowledge_transfer.learning.ensembles.fusion_weights import FITS
from knowledge_transfer.learning.evaluation.metrics import Score, score


@dataclass(frozen=True)
class Answers:
    """The logits of every model on the images of one part, and their labels."""

    soft_labels: SoftLabels
    images: ImageSet

    @property
    def labels(self) -> Tensor:
        """The right answers, int64 [N]."""
        return self.images.labels

    def logits(self, models: Sequence[str]) -> Tensor:
        """Return float32 [M, N, C] of the models, in the order of their names."""
        places = {key.rpartition("@")[0]: place for place, key in enumerate(self.soft_labels.members)}
        return self.soft_labels.logits[[places[name] for name in models], :, 0].float()

    def growing(self, models: Sequence[str]) -> Tensor:
        """Return the accuracy of the mean of probabilities of the first k models, float32 [M], k = 1 … M."""
        # One sum that grows, for M ensembles of up to M members would be M² passes.
        total = torch.zeros(len(self.labels), len(self.images.class_names))
        right = []
        for said in self.logits(models):
            total += said.softmax(dim=1)
            right.append((total.argmax(dim=1) == self.labels).float().mean())
        return torch.stack(right)


def fused(rule: str, models: Sequence[str], asked: Answers, validation: Answers) -> Score:
    """Return the score of the models fused by `rule`; what the rule has to learn, it learns on validation."""
    weights = FITS[rule](validation.logits(models), validation.labels) if rule in FITS else None
    return score(fuse(asked.logits(models), rule, weights=weights), asked.labels)


def by_validation(members: pd.DataFrame) -> pd.DataFrame:
    """Return the members best on validation first, of equals the smaller first."""
    return members.sort_values(["validation", "parameters"], ascending=[False, True], kind="stable")


def by_size(members: pd.DataFrame) -> pd.DataFrame:
    """Return the members with fewest parameters first, of equals the better on validation first."""
    return members.sort_values(["parameters", "validation"], ascending=[True, False], kind="stable")
