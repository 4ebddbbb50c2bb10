"""The study student_ensemble: a teacher, a student, a grid of tiny ones; predictions, tables, figures, a page."""

from collections.abc import Iterator

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import study_tables
from knowledge_transfer.experiment.current import training_tags
from knowledge_transfer.experiment.study_nodes import Fit
from knowledge_transfer.experiment.study_steps import ClosingNodes, SetNodes, build_study, named, tables_of
from knowledge_transfer.pipelines.student_ensemble import nodes, tables
from knowledge_transfer.pipelines.student_ensemble.predictions import count_votes
from knowledge_transfer.pipelines.student_ensemble.report import compose_page
from knowledge_transfer.pipelines.student_ensemble.roster import Group, Roster
from knowledge_transfer.pipelines.student_ensemble.settings import BOOSTED, STUDENT, Settings

PARTS = ("validation", "test")


def create_pipeline(settings: Settings | None = None) -> Pipeline:
    """Return the study on each of its data sets, from `settings` (none: the present run's)."""
    return build_study("student_ensemble", settings, _nodes_of, _closing)


def _nodes_of(data: SetNodes, settings: Settings) -> Iterator[Node]:
    """Yield the nodes of one data set."""
    roster = Roster(data.name, settings)
    teacher = roster.teacher
    yield data.split()
    yield data.train(Fit(teacher), "teacher")
    yield data.label([teacher], "student")
    for student, role in roster.students.items():
        is_taught = role.arm == STUDENT
        fit = Fit(student, role.seed, settings.distillation if is_taught else None)
        yield data.train(fit, "student", [teacher] if is_taught else [])
    for group in (*roster.groups, *roster.sweep.values()):
        yield _group(data, teacher, group)
    yield from _tables(data, roster)
    if roster.sweep:
        yield from _sweep(data, roster)


def _group(data: SetNodes, teacher: str, group: Group) -> Node:
    """Return the node that trains a group."""
    inputs = data.training_inputs([teacher] if group.distillation else [])
    made, is_boosted = f"{group.name}_checkpoints", group.arm == BOOSTED
    return data.node(
        named(nodes.boost_members if is_boosted else nodes.train_members, group),
        {**inputs, "grid": f"params:sets.{data.name}.grid"},
        [made, f"{group.name}_rounds_table"] if is_boosted else made,
        name=f"{'boost' if is_boosted else 'train'}_{group.name}",
        tags=training_tags(group.name),
    )


def _tables(data: SetNodes, roster: Roster) -> Iterator[Node]:
    """Yield the nodes that predict validation and test set, and those that make tables of the predictions."""
    for part in PARTS:
        yield data.predict(part, roster.checkpoints.values())
    yield data.table("members", named(nodes.list_members, roster.roles), roster.checkpoints, name="list_members")
    yield _curves(data, roster)
    known = {"members": f"{data.name}_members_table", **data.parts(PARTS)}
    yield data.table("sizes", tables.grow, known)
    yield data.table("rules", tables.fuse_members, {**known, "sizes": f"{data.name}_sizes_table"})
    yield data.table("singles", tables.score_singles, known)
    if roster.boosted:
        rounds = {group.name: f"{group.name}_rounds_table" for group in roster.boosted}
        yield data.table("votes", named(count_votes, list(rounds)), known | rounds)


def _curves(data: SetNodes, roster: Roster) -> Node:
    """Return the node that collects the learning curves of all models."""
    roles, checkpoints = dict(roster.roles), dict(roster.checkpoints)
    for group in roster.sweep.values():
        roles |= group.roles
        checkpoints[group.name] = f"{group.name}_checkpoints"
    return data.table("curves", named(study_tables.collect_curves, roles), checkpoints)


def _sweep(data: SetNodes, roster: Roster) -> Iterator[Node]:
    """Yield the nodes that choose temperature, alpha and loss on validation and test the chosen point."""
    points = {point: f"{group.name}_checkpoints" for point, group in roster.sweep.items()}
    images = {f"{what}images": f"{data.name}_{part}_images" for what, part in (("", "test"), ("training_", "training"))}
    sweep, predictions = f"{data.name}_sweep_table", f"{data.name}_sweep_predictions_soft_labels"
    yield data.table("sweep", named(nodes.list_sweep, roster.points), points, name="list_sweep")
    yield data.node(
        named(nodes.predict_chosen, roster.as_set),
        {**images, "device": "params:devices", "sweep": sweep, **points},
        predictions,
        name=f"predict_chosen_{data.name}",
        tags=["gpu"],
    )
    given = {"sweep": sweep, "predictions": predictions, "images": images["images"]}
    yield data.table("points", named(tables.compare_points, roster.as_set), given)


def _closing(study: ClosingNodes, settings: Settings) -> Iterator[Node]:
    """Yield the nodes over all data sets."""
    votes = {name: ["votes"] if each.boosting else [] for name, each in settings.sets.items()}
    sweep = {name: ["sweep", "points"] if each.sweep else [] for name, each in settings.sets.items()}
    compared = {name: ["singles", "rules", *votes[name]] for name in settings.sets}
    shown = {name: ["sizes", *compared[name], *sweep[name]] for name in settings.sets}
    yield node(named(tables.compare_arms, compared), tables_of(compared), "arms_table", name="compare_arms")
    yield node(tables.gather_rows, "arms_table", "rows_table", name="gather_rows")
    yield study.report(compose_page, ["arms"], shown)
