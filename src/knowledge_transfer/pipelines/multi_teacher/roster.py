"""Who takes part in the study on one data set, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from knowledge_transfer.pipelines.multi_teacher.settings import MAIN, ONE_TEACHER, Arm, Settings, part_name
from knowledge_transfer.pipelines.multi_teacher.tables import TEACHER, Role


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
        """Return the names of an arm's teachers."""
        return self.teachers(arm.fraction, seed)[: arm.members]

    @cached_property
    def roles(self) -> dict[str, Role]:
        """The arm and the seed of every model."""
        teachers = {
            name: (Arm(TEACHER, 1, fraction=fraction), seed)
            for seed in self.seeds
            for fraction in self.fractions
            for name in self.teachers(fraction, seed)
        }
        learners = {
            f"{self.name}_{arm.name}_seed{seed}": (arm, seed) for seed in self.seeds for arm in self.settings.arms
        }
        return teachers | learners

    def labels(self, fraction: float, seed: int) -> str:
        """Return what the soft labels of those teachers are called."""
        return "_".join(filter(None, (self.name, part_name(fraction), f"seed{seed}")))

    def learner(self, arm: Arm, seed: int) -> str:
        """Return the name of the learner of an arm."""
        return f"{self.name}_{arm.name}_seed{seed}"

    def teams(self) -> Iterator[tuple[dict[str, float], list[str]]]:
        """Yield what a team is called in the table of votes, and its teachers."""
        for seed in self.seeds:
            for members in self.settings.members:
                yield {"members": members, "fraction": 1.0, "seed": seed}, self.teachers(1.0, seed)[:members]
            for fraction in self.fractions[1:]:
                what = {"members": self.settings.most, "fraction": fraction, "seed": seed}
                yield what, self.teachers(fraction, seed)

    @property
    def priced(self) -> dict[str, str]:
        """The models whose costs are measured, one of each network, and their roles."""
        roles = {self.teachers(1.0, 0)[0]: TEACHER, f"{self.name}_{ONE_TEACHER}_seed0": ONE_TEACHER}
        network = self.settings.sets[self.name].learner.architecture
        many = [arm for arm in self.settings.arms if arm.sweep == MAIN and arm.architecture(network).heads > 1]
        return roles | {self.learner(arm, 0): arm.name for arm in many}
