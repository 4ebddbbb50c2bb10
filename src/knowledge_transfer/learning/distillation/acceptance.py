"""Acceptance: of several weights of one network, those that predict the validation images best are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.ensembles.fusion_weights import temperatures
from knowledge_transfer.learning.evaluation.predict import predict


def calibrated_nll(candidate: Checkpoint, validation: ImageSet, device: torch.device) -> float:
    """Return the NLL per validation image, in nats, of a model at the temperature that suits it best.

    A likelihood tells two models apart on fewer images than accuracy does. How confident a model is a temperature can
    change afterwards: calibrated, they differ by what they know.
    """
    logits = predict(candidate.build(), validation, device=device)
    return float(F.cross_entropy(logits / temperatures(logits[None], validation.labels), validation.labels))


def accept(name: str, round_: int, kept: Checkpoint, validation_nll: dict[str, float]) -> Checkpoint:
    """Return the weights of `kept` as those of `name` after `round_`; its facts hold the NLL of all candidates.

    Its parent is the candidate whose weights these are. It has no learning curve of its own.
    """
    parents = {kept.facts.key: kept.facts.sha256}
    changed = {"name": name, "round": round_, "parents": parents, "validation_nll": validation_nll}
    return Checkpoint(kept.facts.model_copy(update=changed), kept.state)


def best_choice(tried: Sequence[Checkpoint], validation: ImageSet, device: torch.device) -> Checkpoint:
    """Return the fit of least calibrated NLL; its facts hold that of every alpha and temperature."""
    found = [calibrated_nll(each, validation, device) for each in tried]
    chosen = tried[found.index(min(found))]
    settings = [each.facts.distillation or {} for each in tried]
    names = [f"alpha {each['alpha']:g}, temperature {each['temperature']:g}" for each in settings]
    chosen_from = dict(zip(names, found, strict=True))
    return replace(chosen, facts=chosen.facts.model_copy(update={"chosen_from": chosen_from}))
