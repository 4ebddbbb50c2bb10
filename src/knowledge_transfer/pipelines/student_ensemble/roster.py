"""The models of the study on one data set: their names, what each of them is, and the groups that train together."""

from dataclasses import dataclass
from typing import NamedTuple

from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.pipelines.student_ensemble.settings import (
    BOOSTED,
    EQUAL,
    MEMBERS,
    ON_LABELS,
    STUDENT,
    TEACHER,
    Settings,
    Shape,
)


class Role(NamedTuple):
    """What a model is: its arm and its seed."""

    arm: str
    seed: int


@dataclass(frozen=True)
class MemberSpec:
    """What the seed of a member is drawn from: members of one shape, repeat and number start alike in every group."""

    shape: str
    repeat: int
    number: int

    @property
    def key(self) -> str:
        """The text from which its seed is drawn."""
        return f"{self.shape} repeat {self.repeat} member {self.number}"


@dataclass(frozen=True)
class Group:
    """Members of one shape that one node trains, taught by `distillation` (none: from labels)."""

    name: str
    arm: str
    members: dict[str, MemberSpec]
    architecture: Architecture
    distillation: DistillationConfig | None

    @property
    def roles(self) -> dict[str, Role]:
        """What each member is, by its name."""
        return {name: Role(self.arm, member.repeat) for name, member in self.members.items()}


class Roster:
    """The models of data set `name`: single ones, and groups of all members of one shape, those of all repeats."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings, self.own = name, settings, settings.sets[name]
        self.repeats = range(settings.seeds)
        grid, how = self.own.grid, settings.distillation
        self.grid = [self._group(shape.name, MEMBERS, shape, how, grid.members) for shape in grid.shapes]
        if settings.untaught:
            arm = MEMBERS + ON_LABELS
            self.grid += [self._group(f"labels_{shape.name}", arm, shape, None, grid.members) for shape in grid.shapes]
        self.boosted: list[Group] = []
        self.equal: list[Group] = []
        if boosting := self.own.boosting:
            shape, members = boosting.shape, boosting.members
            self.boosted = [self._group(BOOSTED, BOOSTED, shape, how, members, repeat) for repeat in self.repeats]
            self.equal = [self._group(EQUAL, EQUAL, shape, how, members)]

    def _group(
        self,
        what: str,
        arm: str,
        shape: Shape,
        distillation: DistillationConfig | None,
        members: int,
        only: int | None = None,
    ) -> Group:
        """Return a group of so many members in each repeat, or in one of them `only`."""
        prefix = f"{self.name}_{what}"
        specs = {
            f"{prefix}_seed{repeat}_member{number}": MemberSpec(shape.name, repeat, number)
            for repeat in (self.repeats if only is None else [only])
            for number in range(members)
        }
        name = prefix if only is None else f"{prefix}_seed{only}"
        return Group(name, arm, specs, self.own.grid.architecture(shape), distillation)

    @property
    def teacher(self) -> str:
        """The name of the teacher."""
        return f"{self.name}_teacher"

    @property
    def students(self) -> dict[str, Role]:
        """What each single student is, by its name."""
        arms = {"student": STUDENT} | ({"labels_student": STUDENT + ON_LABELS} if self.settings.untaught else {})
        return {
            f"{self.name}_{what}_seed{repeat}": Role(arm, repeat)
            for what, arm in arms.items()
            for repeat in self.repeats
        }

    @property
    def groups(self) -> list[Group]:
        """The groups whose members predict every image of validation and test set."""
        return [*self.grid, *self.boosted, *self.equal]

    @property
    def roles(self) -> dict[str, Role]:
        """What every model is, by its name, those of the sweep left out."""
        found = {self.teacher: Role(TEACHER, 0), **self.students}
        for group in self.groups:
            found |= group.roles
        return found

    @property
    def checkpoints(self) -> dict[str, str]:
        """The dataset of every single model and of every group, by its name."""
        singles = {model: f"{model}_checkpoint" for model in (self.teacher, *self.students)}
        return singles | {group.name: f"{group.name}_checkpoints" for group in self.groups}

    @property
    def points(self) -> dict[str, DistillationConfig]:
        """The points of the sweep: every way to teach its members."""
        return self.own.sweep.points(self.settings.distillation) if self.own.sweep else {}

    @property
    def sweep(self) -> dict[str, Group]:
        """The group of each point of the sweep."""
        if self.own.sweep is None:
            return {}
        return {
            point: self._group(f"sweep_{point}", MEMBERS, self.own.sweep.shape, how if how.alpha else None, 1)
            for point, how in self.points.items()
        }

    @property
    def as_set(self) -> str:
        """The point of the sweep with the study's own distillation; empty where it is none of them."""
        return next((point for point, how in self.points.items() if how == self.settings.distillation), "")
