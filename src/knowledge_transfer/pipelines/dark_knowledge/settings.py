"""Settings of the study dark_knowledge, and what each of its models is."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field, model_validator

from knowledge_transfer.experiment.study_config import (
    Blocks,
    Model,
    StudySet,
    StudySettings,
    require_one_teacher,
)
from knowledge_transfer.learning.distillation.config import DistillationConfig

LEARNERS = ("cnn", "small_cnn")
TEACHER, TAUGHT, ALONE, FAILURE_MODE = "teacher", "taught", "alone", "failure_mode"


class Role(NamedTuple):
    """What a model is: its network, its arm (teacher, taught, alone, failure_mode), its seed."""

    learner: str
    arm: str
    seed: int


class Set(StudySet):
    """A data set, its teacher and its learners: a custom CNN, a much smaller one, and that with one fault each.

    All learn from one labelling of the same views.
    """

    teacher: Model
    cnn: Model
    small_cnn: Model
    failure_modes: Blocks[Model] = {}

    @model_validator(mode="after")
    def _learners_share_one_labelling(self) -> Set:
        views, augmentation = self.cnn.recipe.view_count, self.cnn.recipe.augmentation
        for name, model in {"small_cnn": self.small_cnn, **self.failure_modes}.items():
            if (model.recipe.view_count, model.recipe.augmentation) != (views, augmentation):
                raise ValueError(
                    f"{name} would see other views than cnn, and all learn from one labelling: give their recipes the "
                    "same augmentation and the same views (none: as many as epochs)"
                )
        return self


class Settings(StudySettings):
    """On every data set, each learner with the soft loss and without it, `seeds` times.

    The teacher's `weights` (imagenet, a file, none: fresh) are set in globals.yml, because the catalog reads them too.
    """

    weights: str | None = None
    sets: Blocks[Set] = Field(min_length=1)
    distillation: DistillationConfig = DistillationConfig(alpha=0.5, temperature=1.0)

    @model_validator(mode="after")
    def _weights_fit_the_teachers(self) -> Settings:
        for name, each in self.sets.items() if self.weights is not None else ():
            architecture = each.teacher.architecture
            if architecture.kind != "imagenet_resnet50" or architecture.width != 1:
                raise ValueError(
                    f"the weights '{self.weights}' are of an imagenet_resnet50 of width 1, sets.{name}.teacher is a "
                    f"{architecture}: change it, or set weights to null"
                )
        return self

    @model_validator(mode="after")
    def _arms_can_learn(self) -> Settings:
        for distillation in self.arms.values():
            require_one_teacher(distillation)
        return self

    @property
    def arms(self) -> dict[str, DistillationConfig]:
        """How a learner is taught with the soft loss and without it."""
        return {
            TAUGHT: self.distillation,
            ALONE: DistillationConfig(**{**self.distillation.model_dump(), "alpha": 0.0}),
        }

    def roles(self, data: str) -> dict[str, Role]:
        """Return what each model of a data set is, by its name: the teacher, then seed by seed the others."""
        found = {f"{data}_{TEACHER}": Role(TEACHER, TEACHER, 0)}
        for seed in range(self.seeds):
            pairs = [(learner, arm) for arm in self.arms for learner in LEARNERS]
            pairs += [(mode, FAILURE_MODE) for mode in self.sets[data].failure_modes]
            found |= {f"{data}_{learner}_{arm}_seed{seed}": Role(learner, arm, seed) for learner, arm in pairs}
        return found
