"""Settings that every study has: its data, its networks, its seeds."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from knowledge_transfer.experiment.config import Devices
from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.ensembles.fusion import FITTED_RULES, SEPARATE
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.training.recipe import Recipe


class StudyData(Config):
    """How a study's published images are cut; limits are numbers of images, none for all."""

    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    limit: int | None = Field(default=None, ge=1)
    test_limit: int | None = Field(default=None, ge=1)


class Model(Config):
    """A network and how it is trained."""

    architecture: Architecture
    recipe: Recipe = Recipe()


class StudySet(Config):
    """One data set of a study, by the name of its source or of an entry of `domains`; subclasses add what it trains."""

    data: StudyData = StudyData()


class Study(Config):
    """What the settings of every study have; seed and devices are the main experiment's unless it has its own.

    `seeds` is how many times every arm is trained, with other initial weights and another order of the images each
    time; how they spread is what standard errors are made of.
    """

    seed: int = Field(ge=0)
    seeds: int = Field(default=3, ge=1)
    devices: Devices
    per_device: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _no_knob_is_idle(self) -> Study:
        distillation = getattr(self, "distillation", None)
        for knob in ("start", "student_set", "gamma") if distillation is not None else ():
            if getattr(distillation, knob) != DistillationConfig.model_fields[knob].default:
                raise ValueError(
                    f"distillation.{knob} is for the stages of the main experiment, no study has it: leave it out"
                )
        return self

    @field_validator("sets", mode="before", check_fields=False)
    @classmethod
    def _without_those_taken_out(cls, given: Any) -> Any:
        return present(given)

    @field_validator("sets", check_fields=False)
    @classmethod
    def _names_are_names(cls, sets: dict[str, StudySet]) -> dict[str, StudySet]:
        for name in sets:
            if not name.isidentifier() or "_seed" in name:
                raise ValueError(f"'{name}' names datasets: use letters, digits and underscores, not '_seed'")
        return sets


def present(given: Any) -> Any:
    """Return a mapping without its empty entries: a key without a block takes what conf/base has there out."""
    return {key: block for key, block in given.items() if block is not None} if isinstance(given, dict) else given


def require_one_teacher(distillation: DistillationConfig) -> None:
    """Raise ValueError for a teaching that takes several teachers, or what validation says of them."""
    if distillation.top_k is not None or distillation.fusion in (*FITTED_RULES, SEPARATE):
        raise ValueError(
            f"distillation: there is one teacher, so no top_k and no fusion '{distillation.fusion}': leave both out"
        )
