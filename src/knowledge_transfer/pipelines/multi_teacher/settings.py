"""Settings of the study multi_teacher, and the models of a data set: their names and roles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import Field, model_validator

from knowledge_transfer.experiment.study_config import Blocks, Model, StudySet, StudySettings, require_distinct
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.ensembles.fusion import FITTED_RULES

Method = Literal["output_avg", "loss_avg", "mimic_all", "stacked"]
Members = Annotated[int, Field(ge=2, le=99)]
Alpha = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
_FUSIONS = {"output_avg": "mean_probabilities", "loss_avg": "separate", "mimic_all": "separate", "stacked": "stacked"}
TEACHER, LABELS, ONE_TEACHER, ENSEMBLE = "teacher", "labels", "one_teacher", "ensemble"
MAIN: Literal["main"] = "main"  # of no sweep


@dataclass(frozen=True)
class Arm:
    """Learners that differ in their seed alone. `method` is a Method, one_teacher, or labels (no teacher).

    `fraction` is how much of the training images each teacher learned from.
    """

    method: str
    members: int = 0
    alpha: float = 0.0
    fraction: float = 1.0
    sweep: Literal["main", "alpha", "fraction"] = MAIN

    @property
    def name(self) -> str:
        """The name of its learners, without their seed: `mimic_all_k5_alpha0_5`."""
        swept = {MAIN: "", "alpha": f"_alpha{self.alpha:g}", "fraction": f"_{part_name(self.fraction)}"}[self.sweep]
        many = f"_k{self.members}" if self.method in get_args(Method) else ""
        return f"{self.method}{many}{swept}".replace(".", "_")

    @property
    def is_fitted(self) -> bool:
        """Whether the fusion of its teachers is fitted on validation."""
        return _FUSIONS.get(self.method) in FITTED_RULES

    def distillation(self, given: DistillationConfig) -> DistillationConfig:
        """Return how its learners are taught: `given`, with its own alpha and fusion."""
        fusion = _FUSIONS.get(self.method, "mean_probabilities")
        return DistillationConfig(**{**given.model_dump(), "alpha": self.alpha, "fusion": fusion})

    @property
    def heads(self) -> int:
        """How many heads the learners' network has."""
        return self.members if self.method == "mimic_all" else 1


def part_name(fraction: float) -> str:
    """Return the part of a name for teachers of that fraction: `part0_8`; empty for all images."""
    return "" if fraction == 1 else f"part{fraction:g}".replace(".", "_")


class Set(StudySet):
    """A data set, the network of its teachers and that of its learners."""

    teacher: Model
    learner: Model


class Settings(StudySettings):
    """On every data set, `seeds` times, a learner by each of `methods` from the first k teachers, k of `members`.

    The `swept` methods also learn at other `alphas`, and from teachers of `fractions` of the images. The fusion of
    `distillation` has no effect.
    """

    sets: Blocks[Set] = Field(min_length=1)
    members: tuple[Members, ...] = Field(default=(2, 3, 4, 5), min_length=1)
    methods: tuple[Method, ...] = Field(default=get_args(Method), min_length=1)
    distillation: DistillationConfig = DistillationConfig()
    swept: tuple[Method, ...] = ("output_avg", "mimic_all")
    alphas: tuple[Alpha, ...] = ()
    fractions: tuple[Fraction, ...] = ()

    @model_validator(mode="after")
    def _values_are_distinct(self) -> Settings:
        for name in ("members", "methods", "swept", "alphas", "fractions"):
            require_distinct(getattr(self, name), f"{name}: a value occurs twice")
        return self

    @model_validator(mode="after")
    def _arms_can_learn(self) -> Settings:
        if self.distillation.top_k is not None:
            raise ValueError("distillation.top_k: `members` sets how many teachers an arm learns from: leave it out")
        for name, each in self.sets.items():
            for role, model in (("teacher", each.teacher), ("learner", each.learner)):
                if model.architecture.heads != 1:
                    raise ValueError(f"sets.{name}.{role}.architecture.heads: mimic_all sets the heads, leave it out")
        for arm in self.arms:
            arm.distillation(self.distillation)
        return self

    @property
    def most(self) -> int:
        """How many teachers there are."""
        return max(self.members)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Every arm, the one without a teacher first."""
        return tuple(self._arms())

    def _arms(self) -> Iterator[Arm]:
        alpha = self.distillation.alpha
        yield Arm(LABELS)
        yield Arm(ONE_TEACHER, 1, alpha)
        for members in self.members:
            yield from (Arm(method, members, alpha) for method in self.methods)
        for method in self.swept:
            arm = Arm(method, self.most, alpha)
            yield from (replace(arm, alpha=other, sweep="alpha") for other in self.alphas if other != alpha)
            yield from (replace(arm, fraction=fraction, sweep="fraction") for fraction in self.fractions)


class Role(NamedTuple):
    """What a model is: teacher or learner, the fields of its arm, its seed."""

    learner: str
    method: str
    members: int
    alpha: float
    fraction: float
    sweep: str
    seed: int


class Roster:
    """The teachers and the learners of one data set."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings = name, settings
        self.seeds = range(settings.seeds)
        self.fractions = tuple(dict.fromkeys(arm.fraction for arm in settings.arms))

    def teachers(self, fraction: float, seed: int) -> list[str]:
        """Return the names of the teachers of a seed that learned from that fraction of the images."""
        part = f"_{part_name(fraction)}" if fraction < 1 else ""
        return [f"{self.name}{part}_teacher{number}_seed{seed}" for number in range(self.settings.most)]

    def team(self, arm: Arm, seed: int) -> list[str]:
        """Return the names of the teachers of an arm."""
        return self.teachers(arm.fraction, seed)[: arm.members]

    def labels(self, fraction: float, seed: int) -> str:
        """Return the name of the soft labels of these teachers."""
        return "_".join(filter(None, (self.name, part_name(fraction), f"seed{seed}")))

    def learner(self, arm: Arm, seed: int) -> str:
        """Return the name of the learner of an arm."""
        return f"{self.name}_{arm.name}_seed{seed}"

    @cached_property
    def roles(self) -> dict[str, Role]:
        """What each model is, by its name, the teachers first."""
        teachers = {
            name: _role("teacher", Arm(TEACHER, 1, fraction=fraction), seed)
            for seed in self.seeds
            for fraction in self.fractions
            for name in self.teachers(fraction, seed)
        }
        pairs = [(arm, seed) for seed in self.seeds for arm in self.settings.arms]
        return teachers | {self.learner(arm, seed): _role("learner", arm, seed) for arm, seed in pairs}

    def teams(self) -> Iterator[tuple[dict[str, float], list[str]]]:
        """Yield the columns that describe a team in the table of votes, and its teachers."""
        for seed in self.seeds:
            for members in self.settings.members:
                yield {"members": members, "fraction": 1.0, "seed": seed}, self.teachers(1.0, seed)[:members]
            for fraction in self.fractions[1:]:
                columns = {"members": self.settings.most, "fraction": fraction, "seed": seed}
                yield columns, self.teachers(fraction, seed)

    @property
    def measured(self) -> dict[str, str]:
        """The models whose costs are measured, one of each network, and what each network is called."""
        many = [arm for arm in self.settings.arms if arm.sweep == MAIN and arm.heads > 1]
        one_teacher = {f"{self.name}_{ONE_TEACHER}_seed0": ONE_TEACHER}
        return {self.teachers(1.0, 0)[0]: TEACHER} | one_teacher | {self.learner(arm, 0): arm.name for arm in many}


def _role(learner: str, arm: Arm, seed: int) -> Role:
    return Role(learner, arm.method, arm.members, arm.alpha, arm.fraction, arm.sweep, seed)
