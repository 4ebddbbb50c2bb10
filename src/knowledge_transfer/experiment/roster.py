"""The models of one experiment: what each is, and which model it is compared with."""

from dataclasses import dataclass
from typing import Literal, get_args

from knowledge_transfer.experiment.stage_config import ReferenceArm

Stage = Literal["before", "after", "ensemble", "target", "reference"]
ENSEMBLE = "ensemble"
CONTINUED = "continued"  # the reference arm of a student
TARGET_ARMS = tuple(arm for arm in get_args(ReferenceArm) if arm != "students_continued")


@dataclass(frozen=True)
class Model:
    """A model or an ensemble after `round`; `of` is who it is, `arm` its reference arm or fusion rule, if any."""

    name: str
    round: int
    stage: Stage
    of: str
    arm: str | None = None

    @property
    def columns(self) -> dict[str, object]:
        """Its identity in tables."""
        return {"model": self.name, "stage": self.stage, "round": self.round, "of": self.of, "arm": self.arm}

    @property
    def key(self) -> str:
        """The name of the model among those of its run: `resnet8@0`, as in the facts of its checkpoint."""
        return f"{self.name}@{self.round}"


@dataclass(frozen=True)
class Roster:
    """The students and the target of an experiment with this number of rounds."""

    students: tuple[str, ...]
    target: str
    rounds: int

    @property
    def models(self) -> dict[str, Model]:
        """Every model by key; a run without reference arms trains fewer."""
        rounds, last = range(1, self.rounds + 1), self.rounds
        models = [
            *(Model(name, 0, "before", name) for name in self.students),
            *(Model(name, round_, "after", name) for round_ in rounds for name in self.students),
            *(Model(self.target, round_, "target", self.target) for round_ in rounds),
            *(Model(f"{self.target}_{arm}", last, "reference", self.target, arm) for arm in TARGET_ARMS),
            *(Model(f"{name}_{CONTINUED}", last, "reference", name, CONTINUED) for name in self.students),
        ]
        return {model.key: model for model in models}

    def students_after(self, round_: int) -> tuple[str, ...]:
        """Return the keys of the students after that round."""
        return tuple(f"{name}@{round_}" for name in self.students)

    @property
    def final_target(self) -> str:
        """The key of the target after the last round."""
        return f"{self.target}@{self.rounds}"
