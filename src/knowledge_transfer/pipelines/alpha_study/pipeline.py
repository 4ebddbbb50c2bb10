"""The alpha study: a teacher, its soft labels, a learner for every alpha and seed, one table, two figures, a page."""

from __future__ import annotations

from collections.abc import Iterator

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.study_steps import asking, cutting, distilling, labelling, summing_up, training
from knowledge_transfer.pipelines.alpha_study import nodes
from knowledge_transfer.pipelines.alpha_study.settings import Settings

PARTS = ("training", "validation", "test")


def create_pipeline(settings: Settings | None = None) -> Pipeline:
    """Return the study on each of its data sets, as `settings` say (none: the present run's)."""
    return current.build_part("alpha_study", _create, settings)


def _create(settings: Settings) -> Pipeline:
    return Pipeline([*(each for name in settings.sets for each in _on(name, settings)), *_telling(settings)])


def _on(name: str, settings: Settings) -> Iterator[Node]:
    """Yield the nodes of one data set."""
    teacher, learner = f"{name}_teacher", f"sets.{name}.learner"
    yield cutting(name)
    yield training(teacher, source=name, settings=f"sets.{name}.teacher")
    yield labelling(teacher, [teacher], source=name, recipe=f"{learner}.recipe")
    learners = []
    for arm, how in settings.arms.items():
        for repeat in range(settings.seeds):
            learners.append(f"{name}_{arm}_seed{repeat}")
            yield distilling(learners[-1], how, teacher, [teacher], source=name, settings=learner, repeat=repeat)
    for part in PARTS:
        yield asking([teacher, *learners], part, source=name)
    yield node(
        nodes.score_learners,
        {f"{part}_{what}": f"{name}_{part}_{which}" for part in PARTS for what, which in _ASKED}
        | {learner: f"{learner}_checkpoint" for learner in (teacher, *learners)},
        f"{name}_scores_table",
        name=f"score_{name}",
        namespace=name,
    )
    yield node(
        nodes.collect_curves,
        {learner: f"{learner}_checkpoint" for learner in (teacher, *learners)},
        f"{name}_curves_table",
        name=f"collect_curves_{name}",
        namespace=name,
    )
    yield node(
        nodes.draw_curves, f"{name}_curves_table", f"{name}_curves_figure", name=f"draw_curves_{name}", namespace=name
    )


_ASKED = (("answers", "answers_soft_labels"), ("images", "images"))


def _telling(settings: Settings) -> list[Node]:
    """Return the nodes that speak of all data sets."""
    scores = {name: f"{name}_scores_table" for name in settings.sets}
    return [
        node(nodes.compare_alphas, scores, "arms_table", name="compare_alphas"),
        node(nodes.gather_rows, scores, "rows_table", name="gather_rows"),
        summing_up(),
        node(
            nodes.write_report,
            {
                "arms": "arms_table",
                "run_info": "run_info",
                "parameters": "params:alpha_study",
                **{f"{name}_curves": f"{name}_curves_table" for name in settings.sets},
                **{f"{name}_data": f"{name}_data_report" for name in settings.sets},
            },
            "report_page",
            name="write_report",
        ),
    ]
