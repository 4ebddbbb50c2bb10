"""Distillation: the soft labels that a model learns from, and what they add to its loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore, best_members
from knowledge_transfer.learning.ensembles import fusion
from knowledge_transfer.learning.losses.objective import DistillationObjective
from knowledge_transfer.learning.models.architecture import Architecture


@dataclass(frozen=True, eq=False)
class Distillation:
    """The soft labels that a model learns from, and how: fitted fusion rules and `top_k` need `validation_scores`."""

    soft_labels: SoftLabels
    config: DistillationConfig
    validation_scores: dict[str, ValidationScore] | None = None

    def objective(self, images: ImageSet) -> DistillationObjective:
        """Return what the soft labels add to the loss on `images`, the set that was labelled, fused for all epochs.

        Raises ValueError for other images, and when scores are missing that a fitted rule or `top_k` needs.
        """
        return DistillationObjective(
            teacher_logits=self._teacher_logits(images),
            soft_loss=self.config.soft_loss,
            alpha=self.config.alpha,
            view_seed=self.soft_labels.facts.view_seed,
            gamma=self.config.gamma,
        )

    def _teacher_logits(self, images: ImageSet) -> Tensor:
        rule, top_k, scores = self.config.fusion, self.config.top_k, self.validation_scores
        members, weights = self.soft_labels.members, None
        if top_k is not None or rule in fusion.FITTED_RULES:
            if scores is None:
                raise ValueError(f"top_k and the {rule} fusion need the members' validation scores")
            members = best_members(scores, top_k)
            weights = {key: scores[key].fitted[rule] for key in members} if rule in fusion.FITTED_RULES else None
        if rule == fusion.SEPARATE:
            return self.soft_labels.member_logits(images, members=members)
        return self.soft_labels.teacher_logits(
            rule, images, temperature=self.config.temperature, members=members, weights=weights
        )


def require_heads(architecture: Architecture, objective: DistillationObjective) -> None:
    """Raise ValueError unless the architecture has one head, or a head for each separate teacher."""
    members = objective.teacher_logits.shape[2] if objective.teacher_logits.ndim == 4 else None
    if members is not None and architecture.heads not in (1, members):
        raise ValueError(f"{members} separate teachers, but {architecture.heads} heads: set heads to {members} or 1")
