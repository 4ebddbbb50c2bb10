"""Validation scores: how good each ensemble member is, and its weight in each fitted fusion rule."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.ensembles.fusion_weights import FITS
from knowledge_transfer.learning.evaluation.predict import predict

Weight = float | tuple[float, ...] | tuple[tuple[float, ...], ...]


class ValidationScore(Config):
    """Validation accuracy of one member, and its weight in each rule of `fusion_weights.FITS` fitted to its domain."""

    domain: str = ALL
    accuracy: float = Field(ge=0, le=1)
    fitted: dict[str, Weight] = {}


def rank(members: list[Checkpoint], validation: ImageSet, *, device: torch.device) -> dict[str, ValidationScore]:
    """Return each member's score on the validation images of its domain, by key, in the given order."""
    scores: dict[str, ValidationScore] = {}
    for domain in dict.fromkeys(member.facts.domain for member in members):
        rivals, images = [member for member in members if member.facts.domain == domain], validation.of(domain)
        logits = torch.stack([predict(member.build(), images, device=device) for member in rivals])
        scores |= score_members([member.facts.key for member in rivals], logits, images.labels, domain=domain)
    return {member.facts.key: scores[member.facts.key] for member in members}


def score_members(
    keys: Sequence[str], logits: Tensor, labels: Tensor, *, domain: str = ALL
) -> dict[str, ValidationScore]:
    """Return the score of each member by its key, from their `logits` [M, N, C] on validation images of `domain`."""
    accuracies = (logits.argmax(2) == labels).float().mean(1).tolist()
    fitted = {rule: fit(logits, labels).tolist() for rule, fit in FITS.items()}
    return {
        key: ValidationScore(domain=domain, accuracy=accuracy, fitted=dict(zip(fitted, weights, strict=True)))
        for key, accuracy, *weights in zip(keys, accuracies, *fitted.values(), strict=True)
    }


def best_members(scores: dict[str, ValidationScore], top_k: int | None) -> tuple[str, ...]:
    """Return the keys of each domain's `top_k` members (none: all) that are best on validation, in roster order."""
    chosen: set[str] = set()
    for domain in {score.domain for score in scores.values()}:
        rivals = [key for key in scores if scores[key].domain == domain]
        chosen |= set(sorted(rivals, key=lambda key: -scores[key].accuracy)[:top_k])
    return tuple(key for key in scores if key in chosen)
