"""Predictions of all models on the validation and the test set, ensembles made of them, and votes counted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from knowledge_transfer.experiment.study_tables import key_of
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import fuse
from knowledge_transfer.learning.ensembles.fusion_weights import FITS
from knowledge_transfer.learning.evaluation.metrics import Score, score
from knowledge_transfer.pipelines.student_ensemble.settings import BOOSTED, EQUAL, MEAN, PLURALITY


@dataclass(frozen=True)
class Predictions:
    """The logits of every model on the images of one set."""

    soft_labels: SoftLabels
    images: ImageSet

    def logits(self, models: Sequence[str]) -> Tensor:
        """Return float32 [M, N, C] of the models, in the order of their names."""
        return self.soft_labels.only([key_of(model) for model in models]).logits[:, :, 0].float()

    def growing(self, models: Sequence[str]) -> Tensor:
        """Return the accuracy of the mean of probabilities of the first k models, float32 [M], k = 1 … M."""
        # One sum that grows: M ensembles of up to M members would take M² passes.
        total = torch.zeros(len(self.images.labels), len(self.images.class_names))
        right = []
        for logits in self.logits(models):
            total += logits.softmax(dim=1)
            right.append((total.argmax(dim=1) == self.images.labels).float().mean())
        return torch.stack(right)


def both(
    validation_predictions: SoftLabels, test_predictions: SoftLabels, validation_images: ImageSet, test_images: ImageSet
) -> tuple[Predictions, Predictions]:
    """Return the predictions on validation and on the test set."""
    return Predictions(validation_predictions, validation_images), Predictions(test_predictions, test_images)


def fused(rule: str, models: Sequence[str], predictions: Predictions, validation: Predictions) -> Score:
    """Return the score of the models fused by `rule`; a rule with weights is fitted on validation."""
    weights = FITS[rule](validation.logits(models), validation.images.labels) if rule in FITS else None
    return score(fuse(predictions.logits(models), rule, weights=weights), predictions.images.labels)


def on_test(result: Score) -> dict[str, float]:
    """Return the columns of a score on the test set; its accuracy is called `test`, beside that on validation."""
    return {"test" if name == "accuracy" else name: value for name, value in asdict(result).items()}


def by_validation(members: pd.DataFrame) -> pd.DataFrame:
    """Return the members best on validation first, of equals the smaller first."""
    return members.sort_values(["validation", "parameters"], ascending=[False, True], kind="stable")


def by_size(members: pd.DataFrame) -> pd.DataFrame:
    """Return the members with fewest parameters first, of equals the better on validation first."""
    return members.sort_values(["parameters", "validation"], ascending=[True, False], kind="stable")


def by_seed_of(table: pd.DataFrame, *arms: str) -> Any:
    """Return the rows of these arms grouped by arm and seed, in the order of the table."""
    return table[table["arm"].isin(arms)].groupby(["arm", "seed"], sort=False)


def count_votes(groups: Sequence[str], members: pd.DataFrame, **given: Any) -> pd.DataFrame:
    """Return the accuracy of the first k members, boosted and equal, for every k, rule and seed.

    `given` are the rounds of the boosted `groups`, and predictions and images of both parts.
    """
    weights = pd.concat([given.pop(group) for group in groups]).set_index("model")["weight"]
    validation, test = both(**given)
    rows = []
    for (arm, seed), group in by_seed_of(members, BOOSTED, EQUAL):
        for size in range(1, len(group) + 1):
            first = group.iloc[:size]
            names, costs = list(first["model"]), first[["parameters", "counted"]].sum().astype(int).to_dict()
            rules: dict[str, Tensor | None] = {MEAN: None, PLURALITY: None}
            if arm == BOOSTED:
                rules["samme"] = torch.tensor([weights[name] for name in names])
            for rule, own in rules.items():
                how = "boosted" if rule == "samme" else rule
                right, result = (
                    score(fuse(part.logits(names), how, weights=own), part.images.labels) for part in (validation, test)
                )
                known = {"arm": arm, "rule": rule, "seed": seed, "members": size, **costs}
                rows.append({**known, "validation": right.accuracy, **on_test(result)})
    return pd.DataFrame(rows)
