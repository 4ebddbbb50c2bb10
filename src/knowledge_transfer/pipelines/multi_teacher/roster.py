"""The models of the study on one data set: their names and what each of them is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from knowledge_transfer.pipelines.multi_teacher.settings import MAIN, ONE_TEACHER, TEACHER, Arm, Settings, part_name


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
