"""Settings of distillation: how a learner learns from soft labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from knowledge_transfer.learning.config import Config, did_you_mean
from knowledge_transfer.learning.ensembles import fusion
from knowledge_transfer.learning.ensembles.fusion_weights import JOINT_RULES
from knowledge_transfer.learning.losses.distillation import resolve
from knowledge_transfer.learning.losses.soft_loss import SoftLoss


class DistillationConfig(Config):
    """How soft labels enter the loss `alpha * soft + (1 - alpha) * cross-entropy`.

    `fusion` makes one teacher of several. `separate` instead takes the mean of the soft losses to each teacher; where
    the learner has heads, each head learns from one teacher. In a mix of domains the soft loss is taken within each
    image's block; `gamma` weights the domain loss that is added to it (-log of the block's probability). `top_k` keeps
    the k members of each domain that are best on validation (none: all). `student_set` adds the student set to the
    transfer set. `start` says which weights a learner starts from.
    """

    alpha: float = Field(default=0.9, ge=0, le=1)
    gamma: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=4.0, gt=0)
    loss: str = "kl"
    loss_options: dict[str, float] = {}
    fusion: str = "mean_probabilities"
    top_k: int | None = Field(default=None, ge=1)
    student_set: bool = False
    start: Literal["trained", "fresh"] = "trained"

    @property
    def soft_loss(self) -> SoftLoss:
        """The loss with its options. Raises ValueError for an unknown loss or option."""
        return resolve(self.loss, {"temperature": self.temperature, **self.loss_options})

    @field_validator("fusion")
    @classmethod
    def _known_fusion(cls, rule: str) -> str:
        known = (*fusion.FUSION_RULES, *fusion.VOTING_RULES, fusion.SEPARATE)
        if rule not in known:
            raise ValueError(f"unknown fusion '{rule}'{did_you_mean(rule, known)}")
        return rule

    @model_validator(mode="after")
    def _loss_and_options_fit(self) -> DistillationConfig:
        soft_loss = self.soft_loss
        if "temperature" in self.loss_options:
            raise ValueError("the temperature is distillation.temperature, for the teacher and the loss alike")
        if soft_loss.needs_logits and self.fusion in fusion.VOTING_RULES:
            raise ValueError(
                f"loss '{self.loss}' compares logits, '{self.fusion}' elects one class and has none: choose 'kl'"
            )
        if self.fusion in JOINT_RULES and self.top_k is not None:
            raise ValueError(
                f"fusion '{self.fusion}' is one layer on all members: leave top_k out or choose 'weighted'"
            )
        if soft_loss.reads_labels and self.alpha == 1:
            raise ValueError(f"loss '{self.loss}' reads the labels, alpha 1 withholds them: lower alpha or choose 'kl'")
        return self
