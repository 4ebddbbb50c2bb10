"""The study dark_knowledge: a large teacher, a custom CNN and a much smaller one, with its soft labels and without."""

from __future__ import annotations

from collections.abc import Iterator

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.study_steps import (
    asking,
    cutting,
    distilling,
    labelling,
    named,
    summing_up,
    training,
)
from knowledge_transfer.pipelines.dark_knowledge import nodes
from knowledge_transfer.pipelines.dark_knowledge.figures import draw_epochs, draw_suspects
from knowledge_transfer.pipelines.dark_knowledge.report import write_report
from knowledge_transfer.pipelines.dark_knowledge.settings import SUSPECT, TEACHER, Fit, Settings

PARTS = ("validation", "test")
_SHOWN = ("curves", "examination")
_DRAWN = {"epochs": (draw_epochs, ["curves"]), "suspects": (draw_suspects, ["curves", "examination"])}


def create_pipeline(settings: Settings | None = None) -> Pipeline:
    """Return the study on each of its data sets, as `settings` say (none: the present run's)."""
    return current.build_part("dark_knowledge", _create, settings)


def _create(settings: Settings) -> Pipeline:
    return Pipeline([*(each for name in settings.sets for each in _on(name, settings)), *_telling(settings)])


def _on(name: str, settings: Settings) -> Iterator[Node]:
    """Yield the nodes of one data set."""
    teacher, fits = f"{name}_{TEACHER}", settings.fits(name)
    yield cutting(name)
    yield training(
        teacher,
        source=name,
        settings=f"sets.{name}.{TEACHER}",
        start=None if settings.weights is None else "pretrained_weights",
    )
    yield labelling(teacher, [teacher], source=name, recipe=f"sets.{name}.cnn.recipe")
    for learner, fit in fits.items():
        where = f"suspects.{fit.learner}" if fit.arm == SUSPECT else fit.learner
        yield distilling(
            learner,
            settings.distillation if fit.arm == SUSPECT else settings.arms[fit.arm],
            teacher,
            [teacher],
            source=name,
            settings=f"sets.{name}.{where}",
            repeat=fit.seed,
        )
    yield from _judging(name, {teacher: Fit(TEACHER, TEACHER, 0), **fits})


def _judging(name: str, everybody: dict[str, Fit]) -> Iterator[Node]:
    """Yield the nodes that ask, examine and draw what was trained on one data set."""
    # Suspects are looked into on the validation set: nothing is claimed of them that the test set would have to bear.
    asked = {model: fit for model, fit in everybody.items() if fit.arm != SUSPECT}
    examined = {model: fit for model, fit in everybody.items() if fit.learner != TEACHER and fit.arm != "alone"}
    for part in PARTS:
        yield asking(list(asked), part, source=name)
    yield node(
        named(nodes.score_learners, asked),
        {f"{part}_{what}": f"{name}_{part}_{which}" for part in PARTS for what, which in _ASKED}
        | {model: f"{model}_checkpoint" for model in asked},
        f"{name}_scores_table",
        name=f"score_{name}",
        namespace=name,
    )
    yield node(
        named(nodes.examine, examined),
        {
            "images": f"{name}_validation_images",
            "device": "params:devices",
            **{model: f"{model}_checkpoint" for model in examined},
        },
        f"{name}_examination_table",
        name=f"examine_{name}",
        namespace=name,
        tags=["gpu"],
    )
    yield node(
        named(nodes.collect_curves, everybody),
        {model: f"{model}_checkpoint" for model in everybody},
        f"{name}_curves_table",
        name=f"collect_curves_{name}",
        namespace=name,
    )
    for what, (draw, tables) in _DRAWN.items():
        yield node(
            draw,
            [f"{name}_{table}_table" for table in tables],
            f"{name}_{what}_figure",
            name=f"draw_{what}_{name}",
            namespace=name,
        )


_ASKED = (("answers", "answers_soft_labels"), ("images", "images"))


def _telling(settings: Settings) -> list[Node]:
    """Return the nodes that speak of all data sets."""

    def of_sets(kind: str) -> dict[str, str]:
        return {name: f"{name}_{kind}_table" for name in settings.sets}

    return [
        node(nodes.compare_arms, of_sets("scores"), "arms_table", name="compare_arms"),
        node(nodes.compare_epochs, of_sets("curves"), "epochs_table", name="compare_epochs"),
        node(nodes.compare_suspects, of_sets("examination"), "suspects_table", name="compare_suspects"),
        node(nodes.gather_rows, of_sets("scores"), "rows_table", name="gather_rows"),
        summing_up(),
        node(
            write_report,
            {
                "arms": "arms_table",
                "epochs": "epochs_table",
                "suspects": "suspects_table",
                "run_info": "run_info",
                "parameters": "params:dark_knowledge",
                **{f"{name}_{each}": f"{name}_{each}_table" for name in settings.sets for each in _SHOWN},
                **{f"{name}_data": f"{name}_data_report" for name in settings.sets},
            },
            "report_page",
            name="write_report",
        ),
    ]
