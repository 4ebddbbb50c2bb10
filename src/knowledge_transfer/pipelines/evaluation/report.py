"""The report: one page that stands alone, from what evaluation measured."""

from __future__ import annotations

from datetime import datetime, timezone
from importlib.resources import files
from pathlib import PurePath
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined, Template

from knowledge_transfer.experiment.config import parameters_of
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.pipelines.evaluation import figures, words
from knowledge_transfer.pipelines.evaluation.mix_figures import draw_domain_confusion
from knowledge_transfer.pipelines.evaluation.overview_figure import draw_before_and_after
from knowledge_transfer.pipelines.evaluation.routing import MOST_CONFIDENT, ORACLE_ROUTED
from knowledge_transfer.reporting import formats, page, timeline_words
from knowledge_transfer.reporting.gantt import draw_timeline
from knowledge_transfer.reporting.style import inline_svg
from knowledge_transfer.reporting.timeline import Timeline

_STAGES = {
    "before": "Students, before",
    "after": "Students, after",
    "ensemble": "Ensemble of the students",
    "target": "Target",
    "reference": "Reference arms",
}
_MAIN_RULE = "ensemble_mean_probabilities"
_PLAIN = {_MAIN_RULE: "ensemble", ORACLE_ROUTED: "routed by oracle", MOST_CONFIDENT: "most confident"}


def write_report(
    comparisons: pd.DataFrame,
    model_metrics: pd.DataFrame,
    learning_curves: pd.DataFrame,
    confusion: pd.DataFrame,
    calibration: pd.DataFrame,
    summary: dict[str, Any],
    run_info: dict[str, Any],
    data_report: dict[str, Any],
    lineage: dict[str, Any],
    timeline: Timeline,
    parameters: dict[str, Any],
    agreement: pd.DataFrame | None = None,
    domain_confusion: pd.DataFrame | None = None,
    class_metrics: pd.DataFrame | None = None,
) -> str:
    """Return the page as HTML: no script, nothing fetched from anywhere.

    Of a mix there are confusions between domains and a table of classes, of one domain the models' agreement.
    """
    settings = dict(page.flat(parameters_of(parameters, "")))
    is_mix = domain_confusion is not None
    return _page().render(
        lead=words.lead(_records(comparisons), _records(model_metrics[model_metrics["stage"] == "target"])),
        is_mix=is_mix,
        classes=[] if class_metrics is None else _records(class_metrics),
        comparisons=_by_question(comparisons),
        groups=_groups(model_metrics),
        rules=_rules(model_metrics),
        figures=_drawn(model_metrics, learning_curves, confusion, agreement, calibration, domain_confusion, timeline),
        time=timeline_words.told(timeline),
        date=datetime.fromtimestamp(run_info["started"], timezone.utc),
        test_images=data_report["images"]["test"],
        summary=summary,
        run=run_info,
        data=data_report,
        lineage=lineage,
        source=_source(settings, data_report),
        parameters=settings,
    )


def _drawn(
    metrics: pd.DataFrame,
    curves: pd.DataFrame,
    confusion: pd.DataFrame,
    agreement: pd.DataFrame | None,
    calibration: pd.DataFrame,
    domain_confusion: pd.DataFrame | None,
    timeline: Timeline,
) -> dict[str, str]:
    """Return the figures as SVG, drawn anew: an image of the catalog cannot take the colours of the page."""
    drawn = {
        "before_and_after": draw_before_and_after(metrics),
        "learning_curves": figures.draw_learning_curves(curves),
        "confusion": figures.draw_confusion(confusion),
        "calibration": figures.draw_calibration(calibration),
        "timeline": draw_timeline(timeline),
    }
    if agreement is not None:
        drawn["agreement"] = figures.draw_agreement(agreement)
    if domain_confusion is not None:
        drawn["domain_confusion"] = draw_domain_confusion(domain_confusion)
    return {name: inline_svg(figure, name) for name, figure in drawn.items()}


def _page() -> Template:
    package = files(__package__)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": formats.percent, "points": formats.points, "p_value": formats.p_value}
    environment.globals["css"] = page.STYLE
    return environment.from_string(package.joinpath("report.html.jinja").read_text(encoding="utf-8"))


def _source(settings: dict[str, str], data: dict[str, Any]) -> str:
    domains = list(data["domains"])
    if domains != [ALL]:
        return f"{', '.join(domains[:-1])} and {domains[-1]}" if len(domains) > 1 else domains[0]
    return PurePath(settings["data.path"]).name if settings["data.source"] == "folder" else settings["data.source"]


def _by_question(comparisons: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return the comparisons under their questions; those of the target share a heading, each with a remark."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in _records(comparisons):
        heading, _, remark = row["question"].partition("target or ")
        plain = {side: _plain_name(row[side]) for side in ("a", "b")}
        groups.setdefault(heading or "target or …", []).append(row | plain | {"remark": remark})
    return groups


def _plain_name(model: str) -> str:
    for name, plain in _PLAIN.items():
        model = model.replace(name, plain)
    return model


def _groups(metrics: pd.DataFrame) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the models under a heading for each stage; of the ensembles, the one with the plainest rule."""
    shown = metrics[(metrics["stage"] != "ensemble") | metrics["model"].isin(_PLAIN)]
    # Domain by domain, routed students are the students; of the target's arms the whole mix is told.
    whole = shown["model"].isin(shown.loc[shown["domain"] == ALL, "model"]) & (shown["stage"] != "target")
    shown = shown[~whole | (shown["domain"] == ALL)]
    return [(heading, _records(shown[shown["stage"] == stage])) for stage, heading in _STAGES.items()]


def _rules(metrics: pd.DataFrame) -> dict[str, dict[int, dict[str, Any]]]:
    """Return for each fusion rule what the ensemble of each round scores under it."""
    rules: dict[str, dict[int, dict[str, Any]]] = {}
    for row in _records(metrics[metrics["stage"] == "ensemble"]):
        rules.setdefault(row["model"].removeprefix("ensemble_").replace("_", " "), {})[row["round"]] = row
    return rules


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows with None for what is missing."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]
