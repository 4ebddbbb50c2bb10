"""Evaluation: ask every model, measure, compare, report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.pipelines.evaluation import figures, mix_tables, nodes, tables
from knowledge_transfer.pipelines.evaluation.mix_figures import draw_domain_confusion
from knowledge_transfer.pipelines.evaluation.overview_figure import draw_before_and_after
from knowledge_transfer.pipelines.evaluation.report import write_report
from knowledge_transfer.reporting.gantt import draw_timeline, measure_device_use

_TEST = ["test_soft_labels", "test_images"]
_ANSWERS = [*_TEST, "validation_soft_labels", "validation_images"]
_ROSTER = ["params:students", "params:target"]


def create_pipeline(experiment: Experiment | None = None, parameters: str = "parameters") -> Pipeline:
    """Return the stage for an experiment (none: the present run's); the catalog has its parameters as `parameters`."""
    now = experiment or current.plan().main
    students = [f"{name}_round{round_}" for round_ in range(now.rounds + 1) for name in now.students]
    targets = [f"{now.target.name}_round{round_}" for round_ in range(1, now.rounds + 1)]
    references = [f"{name}_round{now.rounds}" for name in now.reference_models]
    models = [*students, *targets, *references]
    is_mix = len(now.mix) > 1
    return Pipeline(
        [*_asking(students, models), *_measuring(models, is_mix=is_mix), *_telling(parameters, is_mix=is_mix)]
    )


def _asking(students: list[str], models: list[str]) -> list[Node]:
    """Return the nodes that need the networks themselves; validation is asked about the students alone."""
    learned = ("student_images", "transfer_images")
    return [
        node(
            function,
            [*images, "params:devices", *(f"{model}_checkpoint" for model in asked)],
            output,
            name=name,
            namespace="evaluation",
            tags=["gpu"],
        )
        for name, function, images, asked, output in (
            ("answer_test_images", nodes.answer_images, ["test_images", *learned], models, "test_soft_labels"),
            (
                "answer_validation_images",
                nodes.answer_images,
                ["validation_images", *learned],
                students,
                "validation_soft_labels",
            ),
            ("measure_costs", nodes.measure_costs, ["test_images"], models, "model_costs"),
        )
    ]


def _measuring(models: list[str], *, is_mix: bool) -> list[Node]:
    """Return the nodes that make tables."""
    about = [*_TEST, *_ROSTER, "params:rounds"]
    # Students of different domains have no question in common on which they could agree.
    apart = [
        _plain(mix_tables.count_domain_confusions, about, "domain_confusion"),
        _plain(mix_tables.score_classes, about, "class_metrics"),
    ]
    checkpoints = [f"{model}_checkpoint" for model in models]
    return [
        _plain(nodes.score_models, [*_ANSWERS, "model_costs", *_ROSTER], "model_metrics"),
        _plain(nodes.compare_arms, [*_ANSWERS, *_ROSTER, "params:rounds", "params:seed"], "comparisons"),
        _plain(tables.measure_calibration, about, "calibration"),
        *(apart if is_mix else [_plain(tables.measure_agreement, about, "agreement")]),
        _plain(tables.count_confusions, [*_TEST, "params:target", "params:rounds"], "confusion"),
        _plain(tables.collect_learning_curves, [*_ROSTER, *checkpoints], "learning_curves"),
        _plain(tables.collect_lineage, checkpoints, "lineage"),
        # What has been measured was trained before: by then the timeline has nearly all there is.
        _plain(measure_device_use, ["timeline", "model_metrics"], "device_use"),
        _plain(tables.summarise, ["model_metrics", "run_info", "params:seed"], "summary"),
    ]


def _telling(parameters: str, *, is_mix: bool) -> list[Node]:
    """Return the nodes that make figures, and the report."""
    apart = ("domain_confusion", "class_metrics") if is_mix else ("agreement",)
    reported = ("comparisons", "model_metrics", "learning_curves", "confusion", "calibration", *apart)
    facts = ("summary", "run_info", "data_report", "lineage", "timeline")
    drawn = (
        _plain(draw_domain_confusion, "domain_confusion", "domain_confusion_figure")
        if is_mix
        else _plain(figures.draw_agreement, "agreement", "agreement_figure")
    )
    return [
        _plain(draw_before_and_after, "model_metrics", "before_and_after_figure"),
        _plain(figures.draw_learning_curves, "learning_curves", "learning_curves_figure"),
        _plain(figures.draw_confusion, "confusion", "confusion_figure"),
        drawn,
        _plain(figures.draw_calibration, "calibration", "calibration_figure"),
        _plain(draw_timeline, ["timeline", "model_metrics"], "timeline_figure"),
        _plain(
            write_report,
            {name: name for name in (*reported, *facts)} | {"parameters": parameters},
            "report_page",
        ),
    ]


def _plain(function: Callable[..., Any], inputs: str | list[str] | dict[str, str], output: str) -> Node:
    return node(function, inputs, output, name=function.__name__, namespace="evaluation")
