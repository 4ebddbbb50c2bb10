"""The sections of the report, from the tables of evaluation."""

from pathlib import PurePath
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from knowledge_transfer.experiment.config import parameters_of
from knowledge_transfer.experiment.stage_config import ENSEMBLE, TAUGHT
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.evaluation.metrics import SCORES
from knowledge_transfer.pipelines.evaluation import figures
from knowledge_transfer.pipelines.evaluation import summary_text as text
from knowledge_transfer.pipelines.evaluation.comparisons import ACCURACY
from knowledge_transfer.pipelines.evaluation.overview_figure import draw_before_and_after
from knowledge_transfer.pipelines.evaluation.predictions import MAIN_RULE, MOST_CONFIDENT, ORACLE_ROUTED
from knowledge_transfer.reporting import gantt, page
from knowledge_transfer.reporting.columns import MEASURES, Column, measures_of, records
from knowledge_transfer.reporting.formats import percent, points
from knowledge_transfer.reporting.page import Drawn, Section, Table
from knowledge_transfer.reporting.timeline import Timeline

_STAGES = {
    "before": "Students, before",
    "after": "Students, after",
    "ensemble": "Ensemble of the students",
    "target": "Target",
    "taught": "As taught, accepted or not",
    "reference": "Reference arms",
}
_RULES_SHOWN = {MAIN_RULE: "ensemble", ORACLE_ROUTED: "routed by oracle", MOST_CONFIDENT: "most confident"}


def write_report(
    comparisons: pd.DataFrame,
    model_metrics: pd.DataFrame,
    learning_curves: pd.DataFrame,
    confusion: pd.DataFrame,
    calibration: pd.DataFrame,
    run_info: dict[str, Any],
    data_report: dict[str, Any],
    lineage: dict[str, Any],
    timeline: Timeline,
    parameters: dict[str, Any],
    class_metrics: pd.DataFrame,
    agreement: pd.DataFrame | None = None,
    domain_confusion: pd.DataFrame | None = None,
) -> str:
    """Return the page as HTML. Its figures are drawn again, because images of the catalog cannot take its colours."""
    own = parameters_of(parameters, "")
    source, is_mix = _source(dict(page.flat(own)), data_report), domain_confusion is not None
    overview = text.OVERVIEW.format(images=data_report["images"]["test"]) + (text.OVERVIEW_OF_MIX if is_mix else "")
    curves = text.CURVES + (text.CURVES_OF_MIX if is_mix else "")
    sections = [
        _drawn("", "before_and_after", draw_before_and_after(model_metrics), overview),
        Section("What was kept", tables=[_kept(lineage)]),
        Section("Differences", tables=[_differences(comparisons, _short_names(model_metrics), is_mix=is_mix)]),
        Section("Models", tables=[_models(model_metrics, len(data_report["class_names"]), is_mix=is_mix)]),
        _drawn("Learning curves", "learning_curves", figures.draw_learning_curves(learning_curves), curves),
    ]
    errors = _errors(confusion, calibration, is_mix=is_mix)
    classes = Section("Classes", tables=[_classes(class_metrics, is_mix=is_mix)])
    if domain_confusion is not None:
        confused = figures.draw_domain_confusion(domain_confusion)
        sections += [_drawn("Which domain is taken for which", "domain_confusion", confused, text.DOMAINS), errors]
        sections += [classes]
    elif agreement is not None:
        alike = figures.draw_agreement(agreement)
        sections += [
            errors,
            classes,
            _drawn("Agreement of the models", "agreement", alike, text.AGREEMENT, is_small=True),
        ]
        sections += [Section("Fusion rules", tables=[_rules(model_metrics)])]
    return page.write_page(
        f"Knowledge transfer on {source}",
        text.lead(records(comparisons), records(model_metrics), lineage),
        sections,
        sources={source: _with_names_of_sets(data_report)},
        run_info=run_info,
        parameters=own,
        appendix=[page.lineage_section(lineage), *gantt.sections(timeline)],
    )


def _source(settings: dict[str, str], data: dict[str, Any]) -> str:
    domains = list(data["domains"])
    if domains != [ALL]:
        return f"{', '.join(domains[:-1])} and {domains[-1]}" if len(domains) > 1 else domains[0]
    return PurePath(settings["data.path"]).name if settings["data.source"] == "folder" else settings["data.source"]


def _with_names_of_sets(data: dict[str, Any]) -> dict[str, Any]:
    names = {"students": "student"}  # the other keys are names already
    return data | {"images": {names.get(name, name): count for name, count in data["images"].items()}}


def _drawn(heading: str, name: str, figure: Figure, caption: str, *, is_small: bool = False) -> Section:
    return Section(heading, figures=[Drawn(name, figure, caption, is_small)])


def _differences(comparisons: pd.DataFrame, names: dict[str, str], *, is_mix: bool) -> Table:
    """Return the comparisons under their questions; those of the target share a heading, each with a remark."""
    rows = []
    for row in records(comparisons):
        heading, _, remark = row["question"].partition("target or ")
        mix = "mix, known" if row["measure"] == ACCURACY else "mix, unknown"
        shown = {
            "heading": heading or "target or …",
            "a": names.get(row["a"], row["a"]),
            "b": names.get(row["b"], row["b"]),
            "remark": remark,
            "images": mix if row["domain"] == ALL else row["domain"],
            "interval": f"{points(row['low'])} … {points(row['high'])}",
        }
        rows.append(row | shown)
    columns = [
        Column("a", "a"),
        Column("b", "b", remark=None if is_mix else "remark"),
        *([Column("images", "images")] if is_mix else []),
        Column("difference", "a − b, points", "points", "standard_error"),
        Column("interval", "95 % interval"),
        Column("p_value", "p", "p"),
        Column("verdict", "gain or loss?", "verdict"),
    ]
    which = text.KNOWN if is_mix else text.STRONGEST
    note = text.DIFFERENCES.format(count=len(rows), chance=0.05 * len(rows), which=which)
    return Table(pd.DataFrame(rows), columns, note, group_by="heading")


def _short_names(metrics: pd.DataFrame) -> dict[str, str]:
    """Return by the key of an ensemble its key with the short name of the fusion rule."""
    shown = metrics[(metrics["stage"] == ENSEMBLE) & metrics["arm"].isin(_RULES_SHOWN)]
    rows = zip(shown["model"], shown["arm"], shown["round"], strict=True)
    return {f"{model}@{round_}": f"{_RULES_SHOWN[arm]}@{round_}" for model, arm, round_ in rows}


def _models(metrics: pd.DataFrame, classes: int, *, is_mix: bool) -> Table:
    """Return the models under a heading for each stage; of the ensembles, those with the main rules."""
    shown = metrics[(metrics["stage"] != ENSEMBLE) | metrics["arm"].isin(_RULES_SHOWN)]
    # By domain, routed students are the students; the target's arms have a row for the whole mix alone.
    whole = shown["model"].isin(shown.loc[shown["domain"] == ALL, "model"]) & (shown["stage"] != "target")
    shown = shown[~whole | (shown["domain"] == ALL)]
    shown = shown.assign(heading=shown["stage"].map(_STAGES), wrong=(1 - shown["accuracy"]) * shown["images"])
    shown = shown.sort_values("stage", key=lambda stages: stages.map(list(_STAGES).index), kind="stable")
    first, *others = (measure.page_column for measure in measures_of(is_mix=is_mix))
    domain = [Column("domain", "domain")] if is_mix else []
    round_, wrong = Column("round", "round", "count"), Column("wrong", "wrong", "count")
    columns = [Column("model", "model"), *domain, round_, first, wrong, *others]
    notes = [text.OF_MIX.format(classes=classes), text.MODELS] if is_mix else [text.MODELS]
    return Table(shown, columns, notes, group_by="heading")


def _kept(lineage: dict[str, Any]) -> Table:
    """Return for each model after distillation the NLL of its candidates and which of them was kept."""
    rows = []
    for key, model in lineage.items():
        if found := model["validation_nll"]:
            candidates = {text.candidate(key, each): each for each in found}
            tried = lineage[candidates[TAUGHT]]["chosen_from"]
            row: dict[str, Any] = {"model": key, "kept": text.CANDIDATES[text.candidate(key, *model["parents"])]}
            row["chosen"] = min(tried, key=tried.__getitem__) if tried else None
            rows.append(row | {what: found[each] for what, each in candidates.items()})
    choice = [Column("chosen", "chosen on validation")] if any(row["chosen"] for row in rows) else []
    columns = [Column("model", "model"), Column("kept", "kept"), *choice]
    columns += [Column(what, f"{name}, NLL", "number") for what, name in text.CANDIDATES.items()]
    return Table(pd.DataFrame(rows, columns=["model", "kept", "chosen", *text.CANDIDATES]), columns, text.KEPT)


def _errors(confusion: pd.DataFrame, calibration: pd.DataFrame, *, is_mix: bool) -> Section:
    drawn = [
        Drawn("confusion", figures.draw_confusion(confusion), text.CONFUSION, is_small=not is_mix),
        Drawn("calibration", figures.draw_calibration(calibration), text.CALIBRATION, is_small=True),
    ]
    return Section("Errors and confidence of the target", figures=drawn, is_pair=not is_mix)


def _classes(classes: pd.DataFrame, *, is_mix: bool) -> Table:
    columns = [
        *([Column("domain", "domain")] if is_mix else []),
        Column("class", "class"),
        Column("images", "images", "count"),
        Column("accuracy", "target %", "percent"),
        *([Column("joint_accuracy", "target, joint %", "percent")] if is_mix else []),
        Column("before", "students before %", "percent"),
        Column("after", "students after %", "percent"),
    ]
    of = " of the domain" if is_mix else ""
    fold = f"{len(classes)} classes: the target, and the mean of the students{of} before and after"
    balanced = classes[["accuracy", "before", "after"]].mean()
    note = (
        f"Balanced accuracy, the mean over classes: target {percent(balanced['accuracy'])} %, students "
        f"{percent(balanced['before'])} % before and {percent(balanced['after'])} % after."
    )
    return Table(classes, columns, note, fold=fold)


def _rules(metrics: pd.DataFrame) -> Table:
    """Return the scores of the ensemble under each fusion rule, the rounds side by side."""
    rules: dict[str, dict[str, Any]] = {}
    for row in records(metrics[metrics["stage"] == ENSEMBLE]):
        scores = {f"{name} {row['round']}": value for name, value in row.items()}
        rules.setdefault(row["arm"], {"rule": row["arm"].replace("_", " ")}).update(scores)
    shown = [measure.column for measure in MEASURES if measure.column.name in SCORES]
    columns = [
        Column(f"{name} {round_}", f"{heading}, round {round_}", how, error and f"{error} {round_}")
        for round_ in sorted(metrics.loc[metrics["stage"] == ENSEMBLE, "round"].unique())
        for name, heading, how, error in ((each.name, each.heading, each.how, each.error) for each in shown)
    ]
    return Table(pd.DataFrame(rules.values()), [Column("rule", "rule"), *columns], text.RULES)
