"""The groups of members that a data set's grid, sweep and boosting ask for, and the nodes that train them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kedro.pipeline import node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment.current import training_tags
from knowledge_transfer.experiment.study_steps import learning, named
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.pipelines.student_ensemble import nodes
from knowledge_transfer.pipelines.student_ensemble.arms import BOOSTED, EQUAL, MEMBERS, ON_LABELS, STUDENT, TEACHER
from knowledge_transfer.pipelines.student_ensemble.settings import Seat, Settings, Shape


class Groups:
    """The groups of data set `name`. All members of one shape are one group, those of all repeats: one node each."""

    def __init__(self, name: str, settings: Settings) -> None:
        self.name, self.settings, self.own = name, settings, settings.sets[name]
        shapes = [shape.name for shape in self.own.grid.shapes]
        self.taught = [f"{name}_{shape}" for shape in shapes]
        self.untaught = [f"{name}_labels_{shape}" for shape in shapes] if settings.untaught else []
        self.boosted = [f"{name}_boosted_seed{repeat}" for repeat in self._repeats] if self.own.boosting else []
        self.equal = [f"{name}_equal"] if self.own.boosting else []
        self.points: dict[str, DistillationConfig] = (
            self.own.sweep.points(settings.distillation) if self.own.sweep else {}
        )
        self.sweep = {point: f"{name}_sweep_{point}" for point in self.points}

    @property
    def _repeats(self) -> range:
        return range(self.settings.seeds)

    @property
    def as_set(self) -> str:
        """The point of the sweep at which the study's own teaching is; no point's name where it is none of them."""
        return next((point for point, how in self.points.items() if how == self.settings.distillation), "")

    @property
    def arms(self) -> dict[str, str]:
        """The arm of every model and group that is asked."""
        repeats = self._repeats
        found = {f"{self.name}_teacher": TEACHER}
        found |= {f"{self.name}_student_seed{repeat}": STUDENT for repeat in repeats}
        if self.settings.untaught:
            found |= {f"{self.name}_labels_student_seed{repeat}": STUDENT + ON_LABELS for repeat in repeats}
        found |= dict.fromkeys(self.taught, MEMBERS) | dict.fromkeys(self.untaught, MEMBERS + ON_LABELS)
        return found | dict.fromkeys(self.boosted, BOOSTED) | dict.fromkeys(self.equal, EQUAL)

    @property
    def models(self) -> dict[str, str]:
        """The dataset of every model and group that is asked, by its name."""
        groups = {*self.taught, *self.untaught, *self.boosted, *self.equal}
        return {name: f"{name}_checkpoint{'s' if name in groups else ''}" for name in self.arms}

    def training(self) -> Iterator[Node]:
        """Yield the nodes that train the groups."""
        grid, how = self.own.grid, self.settings.distillation
        for number, shape in enumerate(grid.shapes):
            seats = shape.seats(self._repeats, grid.members)
            yield self._node(self.taught[number], seats, shape, how)
            if self.untaught:
                yield self._node(self.untaught[number], seats, shape, None)
        if self.own.boosting:
            shape, members = self.own.boosting.shape, self.own.boosting.members
            yield self._node(self.equal[0], shape.seats(self._repeats, members), shape, how)
            for repeat, group in enumerate(self.boosted):
                yield self._node(group, shape.seats([repeat], members), shape, how, boosts=True)
        for point, group in self.sweep.items():
            assert self.own.sweep is not None  # noqa: S101 - or there were no points
            shape, taught = self.own.sweep.shape, self.points[point]
            yield self._node(group, shape.seats(self._repeats, 1), shape, taught if taught.alpha else None)

    def _node(
        self, group: str, seats: Sequence[Seat], shape: Shape, how: DistillationConfig | None, *, boosts: bool = False
    ) -> Node:
        name, teacher = self.name, f"{self.name}_teacher"
        inputs: dict[str, Any] = {
            **learning(name),
            "grid": f"params:sets.{name}.grid",
        }
        if how is not None:
            inputs |= {"soft_labels": f"{teacher}_soft_labels", teacher: f"{teacher}_checkpoint"}
        function = nodes.boost_members if boosts else nodes.train_members
        return node(
            named(function, group, seats, self.own.grid.architecture(shape), how),
            inputs,
            [f"{group}_checkpoints", f"{group}_rounds_table"] if boosts else f"{group}_checkpoints",
            name=f"{'boost' if boosts else 'train'}_{group}",
            namespace=name,
            tags=training_tags(group),
        )
