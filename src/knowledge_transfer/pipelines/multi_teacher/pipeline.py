"""The study of many teachers: teams of teachers, a learner of each by each method, votes, costs, tables and a page."""

from __future__ import annotations

from collections.abc import Iterator

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.study_steps import cutting, learning, named, summing_up, training
from knowledge_transfer.pipelines.multi_teacher import compression, nodes, report, tables, votes
from knowledge_transfer.pipelines.multi_teacher.roster import Roster
from knowledge_transfer.pipelines.multi_teacher.settings import LABELS, Arm, Settings

_FIRST_TEACHER = 1000  # repeats from here on are teachers, lest one begin with the weights of a learner


def create_pipeline(settings: Settings | None = None) -> Pipeline:
    """Return the study on each of its data sets, as `settings` say (none: the present run's)."""
    return current.build_part("multi_teacher", _create, settings)


def _create(settings: Settings) -> Pipeline:
    each = (node_ for name in settings.sets for node_ in _On(name, settings).nodes())
    return Pipeline([*each, *_telling(settings)])


class _On(Roster):
    """The study on one data set."""

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
                {**learning(self.name), "model": f"params:{settings}"},
                f"{name}_checkpoint",
                name=f"train_{name}",
                namespace=self.name,
                tags=current.training_tags(name),
            )
        labels = self.labels(fraction, seed)
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

    def _asking(self, seed: int) -> Iterator[Node]:
        teachers = [name for fraction in self.fractions for name in self.teachers(fraction, seed)]
        everyone = [name for name, (_, own) in self.roles.items() if own == seed]
        parts = {name: arm.fraction for name, (arm, _) in self.roles.items() if name in teachers and arm.fraction < 1}
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
                f"{self.name}_seed{seed}_validation_scores",
                name=f"rank_{self.name}_teachers_seed{seed}",
                namespace=self.name,
            )

    def _learner(self, arm: Arm, seed: int) -> Node:
        name, settings = self.learner(arm, seed), f"sets.{self.name}.learner"
        if arm.method == LABELS:
            return training(name, source=self.name, settings=settings, repeat=seed)
        return node(
            named(nodes.teach, name, seed, arm),
            {
                **learning(self.name),
                "soft_labels": f"{self.labels(arm.fraction, seed)}_soft_labels",
                "model": f"params:{settings}",
                "distillation": "params:distillation",
                **({"validation_scores": f"{self.name}_seed{seed}_validation_scores"} if arm.is_fitted else {}),
                **{teacher: f"{teacher}_checkpoint" for teacher in self.team(arm, seed)},
            },
            f"{name}_checkpoint",
            name=f"teach_{name}",
            namespace=self.name,
            tags=current.training_tags(name),
        )

    def _measuring(self) -> Iterator[Node]:
        answers = {
            f"{part}_seed{seed}": f"{self.name}_seed{seed}_{part}_answers_soft_labels"
            for part in ("test", "validation")
            for seed in self.seeds
        }
        yield node(
            named(tables.score_models, self.roles),
            [f"{self.name}_test_images", *(answers[f"test_seed{seed}"] for seed in self.seeds)],
            f"{self.name}_scores_table",
            name=f"score_{self.name}",
            namespace=self.name,
        )
        yield node(
            named(votes.fuse_teachers, list(self.teams())),
            {
                "test_images": f"{self.name}_test_images",
                "validation_images": f"{self.name}_validation_images",
                **answers,
            },
            f"{self.name}_votes_table",
            name=f"fuse_{self.name}_teachers",
            namespace=self.name,
        )
        yield node(
            named(nodes.measure_costs, self.priced),
            [f"{self.name}_test_images", "params:devices", *(f"{model}_checkpoint" for model in self.priced)],
            f"{self.name}_costs_table",
            name=f"measure_costs_{self.name}",
            namespace=self.name,
            tags=["gpu"],
        )


def _telling(settings: Settings) -> list[Node]:
    """Return the nodes that speak of all data sets."""
    of = {what: {name: f"{name}_{what}_table" for name in settings.sets} for what in ("scores", "votes", "costs")}
    compared = tuple(method for method in ("output_avg", "mimic_all") if method in settings.methods)
    both = {f"{name}_{what}": of[what][name] for what in ("scores", "costs") for name in settings.sets}
    return [
        node(tables.compare_methods, of["scores"], "methods_table", name="compare_methods"),
        node(votes.compare_rules, of["votes"], "rules_table", name="compare_rules"),
        node(
            named(compression.compress, compared),
            {"methods": "methods_table", "rules": "rules_table", **of["costs"]},
            "compression_table",
            name="compress",
        ),
        node(compression.gather_rows, both, "rows_table", name="gather_rows"),
        summing_up(),
        node(
            report.write_report,
            {
                "methods": "methods_table",
                "rules": "rules_table",
                "compression": "compression_table",
                "run_info": "run_info",
                "parameters": "params:multi_teacher",
                **{f"{name}_data": f"{name}_data_report" for name in settings.sets},
                **{f"{name}_votes": f"{name}_votes_table" for name in settings.sets},
            },
            "report_page",
            name="write_report",
        ),
    ]
