"""Settings of the alpha study."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from knowledge_transfer.experiment.study_config import Model, Study, StudySet, require_one_teacher
from knowledge_transfer.learning.distillation.config import DistillationConfig

Alpha = Annotated[float, Field(ge=0, le=1)]


class Set(StudySet):
    """A data set, its teacher and the network of every learner."""

    teacher: Model
    learner: Model


class Settings(Study):
    """The study: on every data set, learners of one network with each of the `alphas`, `seeds` times.

    Of `distillation` everything counts but its alpha.
    """

    sets: dict[str, Set] = Field(min_length=1)
    alphas: tuple[Alpha, ...] = Field(default=(0.0, 0.5, 1.0), min_length=1)
    distillation: DistillationConfig = DistillationConfig()

    @field_validator("alphas")
    @classmethod
    def _each_once(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(alphas)) < len(alphas):
            raise ValueError(f"an alpha stands twice in {list(alphas)}: leave one out")
        return alphas

    @model_validator(mode="after")
    def _arms_can_learn(self) -> Settings:
        for distillation in self.arms.values():
            require_one_teacher(distillation)
        return self

    @property
    def arms(self) -> dict[str, DistillationConfig]:
        """How the learners of each arm are taught, by the name of the arm: `alpha0_5`."""
        return {
            f"alpha{alpha:g}".replace(".", "_"): DistillationConfig(
                **{**self.distillation.model_dump(), "alpha": alpha}
            )
            for alpha in self.alphas
        }
