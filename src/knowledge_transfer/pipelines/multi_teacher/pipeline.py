"""The study multi_teacher: teams of teachers, a learner of each by each method, votes, costs, tables and a page."""

from collections.abc import Iterator

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from knowledge_transfer.experiment.study_nodes import Fit
from knowledge_transfer.experiment.study_steps import ClosingNodes, SetNodes, build_study, named, predictions
from knowledge_transfer.experiment.study_tables import gather_rows
from knowledge_transfer.pipelines.multi_teacher import nodes, votes
from knowledge_transfer.pipelines.multi_teacher.report import compose_page
from knowledge_transfer.pipelines.multi_teacher.settings import LABELS, Arm, Roster, Settings

_FIRST_TEACHER = 1000  # repeats of teachers begin here, so that none starts with the weights of a learner


def create_pipeline(settings: Settings | None = None) -> Pipeline:
    """Return the study on each of its data sets, from `settings` (none: the present run's)."""
    return build_study("multi_teacher", settings, _nodes_of, _closing)


def _nodes_of(data: SetNodes, settings: Settings) -> Iterator[Node]:
    """Yield the nodes of one data set."""
    roster = Roster(data.name, settings)
    yield data.split()
    for seed in roster.seeds:
        for fraction in roster.fractions:
            yield from _teachers(data, roster, fraction, seed)
        yield from _predictions(data, roster, seed)
        for arm in settings.arms:
            yield _learner(data, roster, arm, seed)
    yield from _tables(data, roster)


def _teachers(data: SetNodes, roster: Roster, fraction: float, seed: int) -> Iterator[Node]:
    teachers = roster.teachers(fraction, seed)
    first = _FIRST_TEACHER + seed * len(teachers)
    for number, teacher in enumerate(teachers):
        yield data.train(Fit(teacher, first + number, fraction=fraction), "teacher")
    yield data.label(teachers, "learner", roster.labels(fraction, seed))


def _predictions(data: SetNodes, roster: Roster, seed: int) -> Iterator[Node]:
    """Yield the nodes of predictions, and of validation scores where validation decides how teachers are fused."""
    teachers = [name for fraction in roster.fractions for name in roster.teachers(fraction, seed)]
    every = [name for name, role in roster.roles.items() if role.seed == seed]
    fractions = {name: roster.roles[name].fraction for name in teachers if roster.roles[name].fraction < 1}
    for part, models in (("validation", teachers), ("test", every)):
        checkpoints = [f"{model}_checkpoint" for model in models]
        yield data.predict(part, checkpoints, of=f"seed{seed}", fractions=fractions)
    if teams := {arm.name: roster.team(arm, seed) for arm in roster.settings.arms if arm.is_fitted}:
        yield data.node(
            named(nodes.rank_teachers, teams),
            [predictions(data.name, "validation", f"seed{seed}"), f"{data.name}_validation_images"],
            f"{data.name}_seed{seed}_validation_scores",
            name=f"rank_{data.name}_teachers_seed{seed}",
        )


def _learner(data: SetNodes, roster: Roster, arm: Arm, seed: int) -> Node:
    name = roster.learner(arm, seed)
    if arm.method == LABELS:
        return data.train(Fit(name, seed), "learner")
    fit = Fit(name, seed, arm.distillation(roster.settings.distillation), arm.name, arm.heads)
    scores = {"validation_scores": f"{data.name}_seed{seed}_validation_scores"} if arm.is_fitted else {}
    labels = roster.labels(arm.fraction, seed)
    return data.train(fit, "learner", roster.team(arm, seed), labels, **scores)


def _tables(data: SetNodes, roster: Roster) -> Iterator[Node]:
    images = {f"{part}_images": f"{data.name}_{part}_images" for part in ("test", "validation")}
    predicted = {
        part: {f"{part}_seed{seed}": predictions(data.name, part, f"seed{seed}") for seed in roster.seeds}
        for part in ("test", "validation")
    }
    measured = [f"{model}_checkpoint" for model in roster.measured]
    costs = [images["test_images"], "params:devices", *measured]
    yield data.table("costs", named(nodes.measure_costs, roster.measured), costs, tags=["gpu"])
    known = [images["test_images"], f"{data.name}_costs_table", *predicted["test"].values()]
    yield data.table("scores", named(nodes.score_models, roster.roles), known, name="score")
    yield data.curves(roster.roles)
    given = {**images, **predicted["test"], **predicted["validation"]}
    yield data.table("votes", named(votes.fuse_teachers, list(roster.teams())), given)


def _closing(study: ClosingNodes, settings: Settings) -> Iterator[Node]:
    """Yield the nodes over all data sets."""
    learners = tuple(method for method in ("output_avg", "mimic_all") if method in settings.methods)
    yield study.compare("methods", nodes.compare_methods)
    yield study.compare("rules", votes.compare_rules, "votes")
    yield study.compare("compression", named(nodes.compress, learners), "costs", ["methods", "rules"])
    yield study.compare("rows", gather_rows)
    yield study.report(named(compose_page, settings.distillation.loss), ["methods", "rules", "compression"], [])
