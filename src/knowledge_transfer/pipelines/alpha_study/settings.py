"""Settings of the alpha study, and what each of its models is."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field, field_validator, model_validator

from knowledge_transfer.experiment.study_config import (
    Blocks,
    Model,
    StudySet,
    StudySettings,
    require_distinct,
    require_one_teacher,
)
from knowledge_transfer.learning.distillation.config import DistillationConfig

Alpha = Annotated[float, Field(ge=0, le=1)]
PARTS = ("training", "validation", "test")
TEACHER = "teacher"


class Role(NamedTuple):
    """What a model is: teacher or learner, its arm (`alpha 0.5`), the weight of its soft loss, its seed."""

    learner: str
    arm: str
    alpha: float | None
    seed: int


class Set(StudySet):
    """A data set, its teacher and the network of every learner."""

    teacher: Model
    learner: Model


class Settings(StudySettings):
    """On every data set, learners with each of the `alphas`, `seeds` times; that of `distillation` has no effect."""

    sets: Blocks[Set] = Field(min_length=1)
    alphas: tuple[Alpha, ...] = Field(default=(0.0, 0.5, 1.0), min_length=1)
    distillation: DistillationConfig = DistillationConfig()

    @field_validator("alphas")
    @classmethod
    def _are_distinct(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        require_distinct(alphas, "an alpha occurs twice")
        return alphas

    @model_validator(mode="after")
    def _arms_can_learn(self) -> Settings:
        for distillation in self.arms.values():
            require_one_teacher(distillation)
        return self

    @property
    def arms(self) -> dict[str, DistillationConfig]:
        """How the learners of each arm are taught, by the name of the arm: `alpha 0.5`."""
        given = self.distillation.model_dump()
        return {f"alpha {alpha:g}": DistillationConfig(**{**given, "alpha": alpha}) for alpha in self.alphas}

    def roles(self, data: str) -> dict[str, Role]:
        """Return what each model of a data set is, by its name; the teacher first."""
        learners = {
            f"{data}_{arm.replace(' ', '').replace('.', '_')}_seed{seed}": Role("learner", arm, how.alpha, seed)
            for arm, how in self.arms.items()
            for seed in range(self.seeds)
        }
        return {f"{data}_{TEACHER}": Role(TEACHER, TEACHER, None, 0), **learners}
