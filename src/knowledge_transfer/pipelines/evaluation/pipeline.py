"""Evaluation: every model predicts; then metrics, comparisons, the report."""

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.experiment.stage_config import TAUGHT
from knowledge_transfer.pipelines.evaluation import figures, nodes, tables
from knowledge_transfer.pipelines.evaluation.overview_figure import draw_before_and_after
from knowledge_transfer.pipelines.evaluation.report import write_report
from knowledge_transfer.reporting.gantt import draw_timeline
from knowledge_transfer.reporting.timeline import measure_device_use

_TEST = ["test_soft_labels", "test_images"]
_LOGITS = [*_TEST, "validation_soft_labels", "validation_images"]
_ROSTER = ["params:students", "params:target", "params:rounds"]


def create_pipeline(experiment: Experiment | None = None, parameters: str = "parameters") -> Pipeline:
    """Return the stage for an experiment (none: the present run's); the catalog has its parameters as `parameters`."""
    now = experiment or current.plan().main
    students = [f"{name}_round{round_}_checkpoint" for round_ in range(now.rounds + 1) for name in now.students]
    targets = [f"{now.target.name}_round{round_}_checkpoint" for round_ in range(1, now.rounds + 1)]
    learners = (now.target.name, *now.students)
    taught = [f"{name}_{TAUGHT}_round{round_}_checkpoint" for round_ in range(1, now.rounds + 1) for name in learners]
    references = [f"{name}_round{now.rounds}_checkpoint" for name in now.reference_models]
    models, is_mix = [*students, *targets, *taught, *references], len(now.mix) > 1
    return Pipeline(
        [
            *_predicting(students, models),
            *_measuring(models),
            *_measuring_domains(is_mix=is_mix),
            *_reporting(parameters, is_mix=is_mix),
        ]
    )


def _predicting(students: list[str], models: list[str]) -> list[Node]:
    """Return the nodes that use the networks; on validation only the students predict."""
    sets = ("student_images", "transfer_images")
    return [
        *(
            _node(
                nodes.predict_images,
                [f"{part}_images", *sets, "params:devices", *predicting],
                f"{part}_soft_labels",
                name=f"predict_{part}_images",
                tags=["gpu"],
            )
            for part, predicting in (("test", models), ("validation", students))
        ),
        _node(nodes.measure_costs, ["test_images", "params:devices", *models], "model_costs", tags=["gpu"]),
    ]


def _measuring(models: list[str]) -> list[Node]:
    """Return the nodes of tables and figures that every experiment has."""
    return [
        _node(nodes.score_models, [*_LOGITS, "model_costs", *_ROSTER], "model_metrics"),
        _node(nodes.compare_models, [*_LOGITS, *_ROSTER, "params:seed"], "comparisons"),
        _node(tables.measure_calibration, [*_TEST, *_ROSTER], "calibration"),
        _node(tables.count_confusions, [*_TEST, "params:target", "params:rounds"], "confusion"),
        _node(tables.score_classes, [*_TEST, *_ROSTER], "class_metrics"),
        _node(tables.collect_learning_curves, [*_ROSTER, *models], "learning_curves"),
        _node(tables.collect_lineage, models, "lineage"),
        # After all training, when the timeline is nearly complete.
        _node(measure_device_use, ["timeline", "model_metrics"], "device_use"),
        _node(tables.summarise, ["model_metrics", "run_info", "params:seed"], "summary"),
        _node(draw_before_and_after, "model_metrics", "before_and_after_figure"),
        _node(figures.draw_learning_curves, "learning_curves", "learning_curves_figure"),
        _node(figures.draw_confusion, "confusion", "confusion_figure"),
        _node(figures.draw_calibration, "calibration", "calibration_figure"),
        _node(draw_timeline, ["timeline", "model_metrics"], "timeline_figure"),
    ]


def _measuring_domains(*, is_mix: bool) -> list[Node]:
    """Return the nodes of a mix, or those of one domain: the students of a mix share no images to agree on."""
    if not is_mix:
        return [
            _node(tables.measure_agreement, [*_TEST, *_ROSTER], "agreement"),
            _node(figures.draw_agreement, "agreement", "agreement_figure"),
        ]
    return [
        _node(tables.count_domain_confusions, [*_TEST, *_ROSTER], "domain_confusion"),
        _node(figures.draw_domain_confusion, "domain_confusion", "domain_confusion_figure"),
    ]


def _reporting(parameters: str, *, is_mix: bool) -> list[Node]:
    measured = ("comparisons", "model_metrics", "learning_curves", "confusion", "calibration", "class_metrics")
    special = ("domain_confusion",) if is_mix else ("agreement",)
    names = (*measured, *special, "run_info", "data_report", "lineage", "timeline")
    return [_node(write_report, {name: name for name in names} | {"parameters": parameters}, "report_page")]


def _node(
    function: Callable[..., Any],
    inputs: str | list[str] | dict[str, str],
    output: str,
    *,
    name: str | None = None,
    tags: list[str] | None = None,
) -> Node:
    return node(function, inputs, output, name=name or function.__name__, namespace="evaluation", tags=tags)
