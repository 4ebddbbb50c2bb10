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
from knowledge_transfer.learning.evaluation.collapse import collapse
from knowledge_transfer.learning.evaluation.predict import predict

Weight = float | tuple[float, ...] | tuple[tuple[float, ...], ...]


class ValidationScore(Config):
    """Validation accuracy of one member, and its weight in each rule of `fusion_weights.FITS` fitted to its domain.

    `collapse` says what is wrong with its predictions, if anything.
    """

    domain: str = ALL
    accuracy: float = Field(ge=0, le=1)
    collapse: str = ""
    fitted: dict[str, Weight] = {}


def rank(members: list[Checkpoint], validation: ImageSet, *, device: torch.device) -> dict[str, ValidationScore]:
    """Return each member's score on the validation images of its domain, by key, in the given order."""
    scores: dict[str, ValidationScore] = {}
    for domain in dict.fromkeys(member.facts.domain for member in members):
        rivals = [member for member in members if member.facts.domain == domain]
        scores |= rank_within(domain, rivals, validation, device=device)
    return {member.facts.key: scores[member.facts.key] for member in members}


def rank_within(
    domain: str, members: Sequence[Checkpoint], validation: ImageSet, *, device: torch.device
) -> dict[str, ValidationScore]:
    """Return each member's score among the classes of `domain`, on its validation images, by key."""
    images, logits = validation.of(domain), []
    for member in members:
        block = member.block_in(validation)
        predicted = predict(member.build(), images, device=device)
        # A member that knows every domain is asked about this one.
        logits.append(predicted if block.domain == domain else predicted[:, validation.block(domain).classes])
    return score_members([member.facts.key for member in members], torch.stack(logits), images.labels, domain=domain)


def score_members(
    keys: Sequence[str], logits: Tensor, labels: Tensor, *, domain: str = ALL
) -> dict[str, ValidationScore]:
    """Return the score of each member by its key, from their `logits` [M, N, C] on validation images of `domain`."""
    predicted = logits.argmax(2)
    accuracies = (predicted == labels).float().mean(1).tolist()
    fitted = {rule: fit(logits, labels).tolist() for rule, fit in FITS.items()}
    return {
        key: ValidationScore(
            domain=domain,
            accuracy=accuracy,
            collapse=collapse(own, labels),
            fitted=dict(zip(fitted, weights, strict=True)),
        )
        for key, accuracy, own, *weights in zip(keys, accuracies, predicted, *fitted.values(), strict=True)
    }


def best_members(
    scores: dict[str, ValidationScore], top_k: int | None, *, with_collapsed: bool = False
) -> tuple[str, ...]:
    """Return the keys of each domain's `top_k` members (none: all) that are best on validation, in roster order.

    Members that have collapsed are left out, unless their domain has no others or they are to be counted in.
    """
    chosen: set[str] = set()
    for domain in {score.domain for score in scores.values()}:
        members = [key for key in scores if scores[key].domain == domain]
        rivals = [key for key in members if with_collapsed or not scores[key].collapse] or members
        chosen |= set(sorted(rivals, key=lambda key: -scores[key].accuracy)[:top_k])
    return tuple(key for key in scores if key in chosen)
