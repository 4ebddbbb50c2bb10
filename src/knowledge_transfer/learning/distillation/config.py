"""Distillation: the soft labels that a model learns from, and how they enter its loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from torch import Tensor

from knowledge_transfer.learning.config import Config, did_you_mean
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore, best_members
from knowledge_transfer.learning.ensembles import fusion
from knowledge_transfer.learning.ensembles.fusion_weights import JOINT_RULES
from knowledge_transfer.learning.losses.distillation import resolve
from knowledge_transfer.learning.losses.objective import DistillationObjective
from knowledge_transfer.learning.losses.soft_loss import SoftLoss

_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0)]
BY_CONFIDENCE = "by_confidence"
_LISTED = {"alpha": "alphas", "temperature": "temperatures"}


class DistillationConfig(Config):
    """How soft labels enter the loss `alpha * soft + (1 - alpha) * cross-entropy`.

    `fusion` makes one teacher of several. `separate` instead takes the mean of the soft losses to each teacher; where
    the learner has heads, each head learns from one teacher. `gamma` weights the domain loss of a mix, -log of the
    probability of the image's block, within which the soft loss is taken. `top_k` keeps the k members of each domain
    that are best on validation (none: all). `student_set` adds the student set to the transfer set. With
    `plain_view` the teacher labels every image once, as it is, whatever view of it the learner sees. `start` chooses
    the weights that a learner starts from.

    A list of alphas or temperatures becomes `alphas`, `temperatures`: of all pairs, each learner keeps the one that is
    best on validation. Learning itself takes one of the `choices`. An alpha `by_confidence` is 0.5, shifted for each
    image to whoever is more certain of it, teacher or learner, as `alpha_of_each` says.
    """

    alpha: float = Field(default=0.9, ge=0, le=1)
    alphas: tuple[_Share, ...] = ()
    by_confidence: bool = False
    gamma: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=4.0, gt=0)
    temperatures: tuple[_Positive, ...] = ()
    loss: str = "kl"
    loss_options: dict[str, float] = {}
    fusion: str = "mean_probabilities"
    top_k: int | None = Field(default=None, ge=1)
    student_set: bool = False
    plain_view: bool = False
    start: Literal["trained", "fresh"] = "trained"

    @model_validator(mode="before")
    @classmethod
    def _lists_are_choices(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        found = dict(given)
        if found.get("alpha") == BY_CONFIDENCE:
            found |= {"alpha": 0.5, BY_CONFIDENCE: True}
            given = found
        for name, listed in _LISTED.items():
            values = given.get(name)
            if isinstance(values, str) and len(values.split()) > 1:  # in `--params`, where a comma separates parameters
                values = values.split()
            if isinstance(values, list | tuple):
                if not values:
                    raise ValueError(f"{name} is an empty list: give one or more to choose from")
                found |= {name: values[0], listed: tuple(values)}
        return found

    @property
    def choices(self) -> tuple[DistillationConfig, ...]:
        """The configurations to choose from, each with one alpha and one temperature."""
        one: dict[str, Any] = {"alphas": (), "temperatures": ()}
        return tuple(
            self.model_copy(update={"alpha": alpha, "temperature": temperature, **one})
            for alpha in self.alphas or (self.alpha,)
            for temperature in self.temperatures or (self.temperature,)
        )

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
            raise ValueError(f"loss '{self.loss}' compares logits, which the vote '{self.fusion}' lacks: choose 'kl'")
        if self.fusion in JOINT_RULES and self.top_k is not None:
            raise ValueError(f"fusion '{self.fusion}' is fitted to all members: leave top_k out or choose 'weighted'")
        if soft_loss.compares_images and self.by_confidence:
            raise ValueError(
                f"loss '{self.loss}' compares the images of a batch, alpha by_confidence weights each: choose 'kl'"
            )
        if soft_loss.reads_labels and 1 in (self.alphas or (self.alpha,)):
            raise ValueError(f"loss '{self.loss}' reads the labels, alpha 1 withholds them: lower alpha or choose 'kl'")
        return self


@dataclass(frozen=True, eq=False)
class Distillation:
    """The soft labels that a model learns from, and how: fitted fusion rules and `top_k` need `validation_scores`."""

    soft_labels: SoftLabels
    config: DistillationConfig
    validation_scores: dict[str, ValidationScore] | None = None

    def objective(self, images: ImageSet, heads: int = 1) -> DistillationObjective:
        """Return what the soft labels add to the loss on `images`, the set that was labelled, fused for all epochs.

        Raises ValueError for other images, missing scores, and several heads not as many as separate teachers.
        """
        teacher_logits = self._teacher_logits(images, heads)
        members = teacher_logits.shape[2] if teacher_logits.ndim == 4 else None
        if members is not None and heads not in (1, members):
            raise ValueError(f"{members} separate teachers, but {heads} heads: set heads to {members} or 1")
        view_seed = self.soft_labels.facts.view_seed
        return DistillationObjective(
            teacher_logits,
            self.config.soft_loss,
            self.config.alpha,
            view_seed,
            self.config.gamma,
            self.config.by_confidence,
        )

    @property
    def choices(self) -> tuple[Distillation, ...]:
        """The distillations to choose from, each with one alpha and one temperature."""
        return tuple(replace(self, config=config) for config in self.config.choices)

    @property
    def has_teacher(self) -> bool:
        """Whether any teacher is fit to teach: a collapsed one is not."""
        return self.validation_scores is None or not all(score.collapse for score in self.validation_scores.values())

    @property
    def reads_labels(self) -> bool:
        """Whether labels count beside the soft labels, with any alpha that may be chosen."""
        return any(config.alpha < 1 for config in self.config.choices)

    def _teacher_logits(self, images: ImageSet, heads: int) -> Tensor:
        rule, top_k, scores = self.config.fusion, self.config.top_k, self.validation_scores
        members, weights = self.soft_labels.members, None
        if scores is None and (top_k is not None or rule in fusion.FITTED_RULES):
            raise ValueError(f"top_k and the {rule} fusion need the members' validation scores")
        # A joint layer needs all members; separate teachers a head each, or as many in every domain.
        if scores is not None and rule not in JOINT_RULES:
            is_fixed = rule == fusion.SEPARATE and (heads > 1 or len(images.blocks) > 1)
            members = best_members(scores, top_k, with_collapsed=is_fixed)
        if scores is not None and rule in fusion.FITTED_RULES:
            weights = {key: scores[key].fitted[rule] for key in members}
        if rule == fusion.SEPARATE:
            return self.soft_labels.member_logits(images, members=members)
        return self.soft_labels.teacher_logits(
            rule, images, temperature=self.config.temperature, members=members, weights=weights
        )
