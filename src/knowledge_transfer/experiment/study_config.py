"""Settings that every study has: its data sets, its networks and its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from knowledge_transfer.experiment.stage_config import Devices
from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.ensembles.fusion import FITTED_RULES, SEPARATE
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.training.recipe import Recipe

_Block = TypeVar("_Block")


def _present(given: Any) -> Any:
    # A key without a block removes the block of conf/base.
    return {key: block for key, block in given.items() if block is not None} if isinstance(given, dict) else given


def _named(blocks: dict[str, _Block]) -> dict[str, _Block]:
    for name in blocks:
        if not name.isidentifier() or "_seed" in name:
            raise ValueError(f"'{name}' names datasets: use letters, digits and underscores, not '_seed'")
    return blocks


Blocks = Annotated[dict[str, _Block], BeforeValidator(_present), AfterValidator(_named)]  # their keys name datasets


class StudyData(Config):
    """How the published images of a study are split; limits are numbers of images (none: all)."""

    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    limit: int | None = Field(default=None, ge=1)
    test_limit: int | None = Field(default=None, ge=1)


class Model(Config):
    """A network and how it is trained."""

    architecture: Architecture
    recipe: Recipe = Recipe()


class StudySet(Config):
    """One data set of a study, under the name of its source or of an entry of `domains`. Subclasses add its models."""

    data: StudyData = StudyData()


_OF_STAGES = ("start", "student_set", "plain_view", "gamma", "alphas", "temperatures")


class StudySettings(Config):
    """Settings that every study has; seed and devices default to those of the main experiment.

    Every arm is trained `seeds` times, with other initial weights and another order of the images.
    """

    seed: int = Field(ge=0, lt=2**32)
    seeds: int = Field(default=3, ge=1)
    devices: Devices
    per_device: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _no_option_is_idle(self) -> StudySettings:
        distillation = getattr(self, "distillation", None)
        for option in _OF_STAGES if distillation is not None else ():
            if getattr(distillation, option) != DistillationConfig.model_fields[option].default:
                raise ValueError(
                    f"distillation.{option} is for the stages of the main experiment, no study has it: leave it out"
                )
        return self


def require_distinct(values: Sequence[object], message: str) -> None:
    """Raise ValueError with `message` and the values when one of them occurs twice."""
    if len(set(values)) < len(values):
        raise ValueError(f"{message} in {list(values)}: leave one out")


def require_one_teacher(distillation: DistillationConfig) -> None:
    """Raise ValueError for options that need several teachers, or their validation scores."""
    if distillation.top_k is not None or distillation.fusion in (*FITTED_RULES, SEPARATE):
        raise ValueError(
            f"distillation: there is one teacher, so no top_k and no fusion '{distillation.fusion}': leave both out"
        )
