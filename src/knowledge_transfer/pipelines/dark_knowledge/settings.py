"""Settings of the study dark_knowledge."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import Field, field_validator, model_validator

from knowledge_transfer.experiment.study_config import Model, Study, StudySet, present, require_one_teacher
from knowledge_transfer.learning.distillation.config import DistillationConfig

LEARNERS = ("cnn", "small_cnn")
TEACHER, SUSPECT = "teacher", "suspect"


class Fit(NamedTuple):
    """What a model is in the study: which network, taught how (teacher, taught, alone, suspect), and which seed."""

    learner: str
    arm: str
    seed: int


class Set(StudySet):
    """A data set, its teacher and what learns from it: a custom CNN, a much smaller one, and that one's suspects.

    `suspects` are the smaller CNN with a fault each, by the fault's name: what may have kept the source's at chance.
    All of these learn from one labelling of the same views.
    """

    teacher: Model
    cnn: Model
    small_cnn: Model
    suspects: dict[str, Model] = {}

    @field_validator("suspects", mode="before")
    @classmethod
    def _without_those_taken_out(cls, given: Any) -> Any:
        return present(given)

    @field_validator("suspects")
    @classmethod
    def _names_are_names(cls, suspects: dict[str, Model]) -> dict[str, Model]:
        for name in suspects:
            if not name.isidentifier() or "_seed" in name:
                raise ValueError(f"'{name}' names datasets: use letters, digits and underscores, not '_seed'")
        return suspects

    @model_validator(mode="after")
    def _learners_share_one_labelling(self) -> Set:
        views, augmentation = self.cnn.recipe.view_count, self.cnn.recipe.augmentation
        for name, model in {"small_cnn": self.small_cnn, **self.suspects}.items():
            if (model.recipe.view_count, model.recipe.augmentation) != (views, augmentation):
                raise ValueError(
                    f"{name} would see other views than cnn, and all learn from one labelling: give their recipes the "
                    "same augmentation and the same views (none: as many as epochs)"
                )
        return self


class Settings(Study):
    """The study: on every data set each learner with the soft loss and without it, `seeds` times.

    `weights` are what the teacher starts from: imagenet, a file, or none (fresh weights). globals.yml has it, for the
    catalog reads it too.
    """

    weights: str | None = None
    sets: dict[str, Set] = Field(min_length=1)
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
            "taught": self.distillation,
            "alone": DistillationConfig(**{**self.distillation.model_dump(), "alpha": 0.0}),
        }

    def fits(self, name: str) -> dict[str, Fit]:
        """Return the learners and suspects of a data set by the names of their models, seed by seed."""
        found: dict[str, Fit] = {}
        for seed in range(self.seeds):
            for arm in self.arms:
                found |= {f"{name}_{learner}_{arm}_seed{seed}": Fit(learner, arm, seed) for learner in LEARNERS}
            for suspect in self.sets[name].suspects:
                found[f"{name}_{suspect}_{SUSPECT}_seed{seed}"] = Fit(suspect, SUSPECT, seed)
        return found
