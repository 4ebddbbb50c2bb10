"""The study of many teachers: teams of teachers, a learner of each by each method, votes, costs, tables and a page."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import cast

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.pipelines import building
from knowledge_transfer.pipelines.multi_teacher import nodes, report, tables
from knowledge_transfer.pipelines.multi_teacher.settings import LABELS, MAIN, ONE_TEACHER, Arm, Settings, part_name
from knowledge_transfer.pipelines.study_nodes import summarise
from knowledge_transfer.pipelines.study_stages import cutting, named, outputs_of, training

_FIRST_TEACHER = 1000  # repeats from here on are teachers, lest one begin with the weights of a learner


def create_pipeline() -> Pipeline:
    """Return the study on each of its data sets."""
    return building.part("multi_teacher", _create)


def _create() -> Pipeline:
    settings = cast("Settings", building.study())
    each = (node_ for name in settings.sets for node_ in _On(name, settings).nodes())
    return Pipeline([*each, *_telling(settings)])


class _On:
    """The study on one data set: who is in it, and the nodes."""

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
    def roster(self) -> dict[str, tables.Role]:
        """The arm and the seed of every model."""
        teachers = {
            name: (Arm(tables.TEACHER, 1, fraction=fraction), seed)
            for seed in self.seeds
            for fraction in self.fractions
            for name in self.teachers(fraction, seed)
        }
        learners = {
            f"{self.name}_{arm.name}_seed{seed}": (arm, seed) for seed in self.seeds for arm in self.settings.arms
        }
        return teachers | learners

    def nodes(self) -> Iterator[Node]:
        """Yield the nodes of this data set."""
        yield cutting(self.name)
        for seed in self.seeds:
            for fraction in self.fractions:
                yield from self._teachers(fraction, seed)
            yield from self._asking(seed)
            for arm in self.settings.arms:
                yield self._learner(arm, seed)
        yield from self._measuring()

    def _teachers(self, fraction: float, seed: int) -> Iterator[Node]:
        names = self.teachers(fraction, seed)
        settings = f"sets.{self.name}.teacher"
        for number, name in enumerate(names):
            repeat = _FIRST_TEACHER + seed * self.settings.most + number
            if fraction == 1:
                yield training(name, source=self.name, settings=settings, repeat=repeat)
                continue
            yield node(
                named(nodes.train_on_part, name, repeat, fraction),
                {**self._learning(), "model": f"params:{settings}"},
                outputs_of(name),
                name=f"train_{name}",
                namespace=self.name,
                tags=["training", "gpu"],
            )
        labels = self._labels(fraction, seed)
        # Not `study_stages.labelling`, which takes a recipe: Kedro cannot check a model and its recipe both, where
        # some node that waits for nothing takes the model.
        yield node(
            nodes.label_images,
            [
                f"{self.name}_training_images",
                f"params:sets.{self.name}.learner",
                "params:seed",
                "params:devices",
                *(f"{name}_checkpoint" for name in names),
            ],
            f"{labels}_soft_labels",
            name=f"label_by_{labels}",
            namespace=self.name,
            tags=["gpu"],
        )

    def _labels(self, fraction: float, seed: int) -> str:
        return "_".join(filter(None, (self.name, part_name(fraction), f"seed{seed}")))

    def _learning(self) -> dict[str, str]:
        """Return what every fit takes."""
        images = {"images": "training_images", "validation": "validation_images", "normalisation": "normalisation"}
        return {
            **{argument: f"{self.name}_{what}" for argument, what in images.items()},
            "seed": "params:seed",
            "device": "params:devices",
        }

    def _asking(self, seed: int) -> Iterator[Node]:
        teachers = [name for fraction in self.fractions for name in self.teachers(fraction, seed)]
        everyone = [name for name, (_, own) in self.roster.items() if own == seed]
        parts = {name: arm.fraction for name, (arm, _) in self.roster.items() if name in teachers and arm.fraction < 1}
        for part, models in (("validation", teachers), ("test", everyone)):
            yield node(
                named(nodes.ask, parts),
                [
                    f"{self.name}_{part}_images",
                    f"{self.name}_training_images",
                    "params:seed",
                    "params:devices",
                    *(f"{model}_checkpoint" for model in models),
                ],
                f"{self.name}_seed{seed}_{part}_answers_soft_labels",
                name=f"ask_{self.name}_{part}_seed{seed}",
                namespace=self.name,
                tags=["gpu"],
            )
        teams = {arm.name: self.team(arm, seed) for arm in self.settings.arms if arm.is_fitted}
        if teams:
            yield node(
                named(nodes.rank_teachers, teams),
                [f"{self.name}_seed{seed}_validation_answers_soft_labels", f"{self.name}_validation_images"],
                f"{self.name}_seed{seed}_standings",
                name=f"rank_{self.name}_teachers_seed{seed}",
                namespace=self.name,
            )

    def _learner(self, arm: Arm, seed: int) -> Node:
        name, settings = f"{self.name}_{arm.name}_seed{seed}", f"sets.{self.name}.learner"
        if arm.method == LABELS:
            return training(name, source=self.name, settings=settings, repeat=seed)
        return node(
            named(nodes.teach, name, seed, arm),
            {
                **self._learning(),
                "soft_labels": f"{self._labels(arm.fraction, seed)}_soft_labels",
                "model": f"params:{settings}",
                "teaching": "params:teaching",
                **({"standings": f"{self.name}_seed{seed}_standings"} if arm.is_fitted else {}),
                **{f"{teacher}_facts": f"{teacher}_facts" for teacher in self.team(arm, seed)},
            },
            outputs_of(name),
            name=f"teach_{name}",
            namespace=self.name,
            tags=["training", "gpu"],
        )

    def _measuring(self) -> Iterator[Node]:
        answers = {
            f"{part}_seed{seed}": f"{self.name}_seed{seed}_{part}_answers_soft_labels"
            for part in ("test", "validation")
            for seed in self.seeds
        }
        yield node(
            named(tables.score_models, self.roster),
            [f"{self.name}_test_images", *(answers[f"test_seed{seed}"] for seed in self.seeds)],
            f"{self.name}_scores_table",
            name=f"score_{self.name}",
            namespace=self.name,
        )
        yield node(
            named(tables.fuse_teachers, list(self._teams())),
            {
                "test_images": f"{self.name}_test_images",
                "validation_images": f"{self.name}_validation_images",
                **answers,
            },
            f"{self.name}_votes_table",
            name=f"fuse_{self.name}_teachers",
            namespace=self.name,
        )
        roles = {self.teachers(1.0, 0)[0]: tables.TEACHER, f"{self.name}_{ONE_TEACHER}_seed0": ONE_TEACHER}
        roles |= {f"{self.name}_{arm.name}_seed0": arm.name for arm in self.settings.arms if self._has_own_cost(arm)}
        yield node(
            named(nodes.measure_costs, roles),
            [f"{self.name}_test_images", "params:devices", *(f"{model}_checkpoint" for model in roles)],
            f"{self.name}_costs_table",
            name=f"measure_costs_{self.name}",
            namespace=self.name,
            tags=["gpu"],
        )

    def _has_own_cost(self, arm: Arm) -> bool:
        return arm.sweep == MAIN and arm.architecture(self.settings.sets[self.name].learner.architecture).heads > 1

    def _teams(self) -> Iterator[tuple[dict[str, float], list[str]]]:
        """Yield what a team is called in the table of votes, and its teachers."""
        for seed in self.seeds:
            for members in self.settings.members:
                yield {"members": members, "fraction": 1.0, "seed": seed}, self.teachers(1.0, seed)[:members]
            for fraction in self.fractions[1:]:
                what = {"members": self.settings.most, "fraction": fraction, "seed": seed}
                yield what, self.teachers(fraction, seed)


def _telling(settings: Settings) -> list[Node]:
    """Return the nodes that speak of all data sets."""
    of = {what: {name: f"{name}_{what}_table" for name in settings.sets} for what in ("scores", "votes", "costs")}
    compared = tuple(method for method in ("output_avg", "mimic_all") if method in settings.methods)
    both = {f"{name}_{what}": of[what][name] for what in ("scores", "costs") for name in settings.sets}
    return [
        node(tables.compare_methods, of["scores"], "methods_table", name="compare_methods"),
        node(tables.compare_rules, of["votes"], "rules_table", name="compare_rules"),
        node(
            named(tables.compress, compared),
            {"methods": "methods_table", "rules": "rules_table", **of["costs"]},
            "compression_table",
            name="compress",
        ),
        node(tables.gather_rows, both, "rows_table", name="gather_rows"),
        node(summarise, ["rows_table", "run_facts", "params:seed"], "summary", name="summarise"),
        node(
            report.write_report,
            {
                "methods": "methods_table",
                "rules": "rules_table",
                "compression": "compression_table",
                "run_facts": "run_facts",
                "parameters": building.all_parameters(),
                **{f"{name}_data": f"{name}_data_report" for name in settings.sets},
                **{f"{name}_votes": f"{name}_votes_table" for name in settings.sets},
            },
            "report",
            name="write_report",
        ),
    ]
