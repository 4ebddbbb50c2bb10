"""The study student_ensemble: a teacher, a student, a grid of tiny ones; their answers; tables, figures, a page."""

from __future__ import annotations

from collections.abc import Iterator

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.study_steps import cutting, distilling, named, summing_up, training
from knowledge_transfer.pipelines.student_ensemble import nodes, report, tables
from knowledge_transfer.pipelines.student_ensemble.groups import Groups
from knowledge_transfer.pipelines.student_ensemble.settings import Settings

PARTS = ("validation", "test")


def create_pipeline(settings: Settings | None = None) -> Pipeline:
    """Return the study on each of its data sets, as `settings` say (none: the present run's)."""
    return current.build_part("student_ensemble", _create, settings)


def _create(settings: Settings) -> Pipeline:
    return Pipeline([*(each for name in settings.sets for each in _on(name, settings)), *_telling(settings)])


def _on(name: str, settings: Settings) -> Iterator[Node]:
    """Yield the nodes of one data set."""
    teacher, student = f"{name}_teacher", f"sets.{name}.student"
    yield cutting(name)
    yield training(teacher, source=name, settings=f"sets.{name}.teacher")
    yield node(
        nodes.label_for_all,
        [
            f"{name}_training_images",
            f"params:sets.{name}.grid",
            "params:seed",
            "params:devices",
            f"{teacher}_checkpoint",
        ],
        f"{teacher}_soft_labels",
        name=f"label_by_{teacher}",
        namespace=name,
        tags=["gpu"],
    )
    for repeat in range(settings.seeds):
        taught = f"{name}_student_seed{repeat}"
        yield distilling(
            taught, settings.distillation, teacher, [teacher], source=name, settings=student, repeat=repeat
        )
        if settings.untaught:
            yield training(f"{name}_labels_student_seed{repeat}", source=name, settings=student, repeat=repeat)
    groups = Groups(name, settings)
    yield from groups.training()
    yield from _asking(name, groups)
    yield from _sweeping(name, groups)


def _asking(name: str, groups: Groups) -> Iterator[Node]:
    """Yield the nodes that ask every model about validation and test set, and those that make tables of it."""
    models = groups.models
    for part in PARTS:
        yield node(
            nodes.ask_all,
            [f"{name}_{part}_images", f"{name}_training_images", "params:devices", *models.values()],
            f"{name}_{part}_answers_soft_labels",
            name=f"ask_{name}_{part}",
            namespace=name,
            tags=["gpu"],
        )
    yield node(
        named(nodes.list_members, groups.arms),
        models,
        f"{name}_members_table",
        name=f"list_members_{name}",
        namespace=name,
    )
    asked = {
        "members": f"{name}_members_table",
        **{f"{part}_answers": f"{name}_{part}_answers_soft_labels" for part in PARTS},
        **{f"{part}_images": f"{name}_{part}_images" for part in PARTS},
    }
    for make, table in ((tables.grow, "sizes"), (tables.fuse_members, "rules"), (tables.score_singles, "singles")):
        inputs = asked | ({"sizes": f"{name}_sizes_table"} if make is tables.fuse_members else {})
        yield node(make, inputs, f"{name}_{table}_table", name=f"{table}_of_{name}", namespace=name)
    if groups.boosted:
        rounds = {group: f"{group}_rounds_table" for group in groups.boosted}
        yield node(
            tables.count_votes, asked | rounds, f"{name}_votes_table", name=f"count_votes_{name}", namespace=name
        )


def _sweeping(name: str, groups: Groups) -> Iterator[Node]:
    """Yield the nodes that choose temperature, alpha and loss on validation and ask what was chosen."""
    if not groups.sweep:
        return
    points = {point: f"{group}_checkpoints" for point, group in groups.sweep.items()}
    yield node(
        named(nodes.list_sweep, groups.points),
        points,
        f"{name}_sweep_table",
        name=f"list_sweep_{name}",
        namespace=name,
    )
    yield node(
        named(nodes.ask_chosen, groups.as_set),
        {
            "images": f"{name}_test_images",
            "training_images": f"{name}_training_images",
            "device": "params:devices",
            "sweep": f"{name}_sweep_table",
            **points,
        },
        f"{name}_sweep_answers_soft_labels",
        name=f"ask_chosen_{name}",
        namespace=name,
        tags=["gpu"],
    )
    yield node(
        named(tables.compare_points, groups.as_set),
        {
            "sweep": f"{name}_sweep_table",
            "answers": f"{name}_sweep_answers_soft_labels",
            "images": f"{name}_test_images",
        },
        f"{name}_points_table",
        name=f"compare_points_{name}",
        namespace=name,
    )


def _telling(settings: Settings) -> list[Node]:
    """Return the nodes that speak of all data sets."""
    sets = settings.sets
    singles = {f"{name}_singles": f"{name}_singles_table" for name in sets}
    grown = {
        **{f"{name}_sizes": f"{name}_sizes_table" for name in sets},
        **{f"{name}_rules": f"{name}_rules_table" for name in sets},
        **{f"{name}_votes": f"{name}_votes_table" for name, each in sets.items() if each.boosting},
    }
    swept = {
        f"{name}_{table}": f"{name}_{table}_table"
        for name, each in sets.items()
        if each.sweep
        for table in ("sweep", "points")
    }
    return [
        node(tables.compare_arms, singles | grown, "arms_table", name="compare_arms"),
        node(tables.gather_rows, "arms_table", "rows_table", name="gather_rows"),
        summing_up(),
        node(
            report.write_report,
            {
                "arms": "arms_table",
                "run_info": "run_info",
                "parameters": "params:student_ensemble",
                **singles,
                **grown,
                **swept,
                **{f"{name}_data": f"{name}_data_report" for name in sets},
            },
            "report_page",
            name="write_report",
        ),
    ]
