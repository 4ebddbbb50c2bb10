"""Nodes of the repeats: every table has the seeds as its sample."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from knowledge_transfer.experiment.config import parameters_of
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.reporting import page
from knowledge_transfer.reporting.columns import Column, records, summary_of
from knowledge_transfer.reporting.formats import GAP, p_value, percent, points
from knowledge_transfer.reporting.page import Drawn, Section, Table
from knowledge_transfer.reporting.statistics import over_seeds, paired
from knowledge_transfer.reporting.style import BLUE, MUTED, sheet

_MODEL = ["model", "stage", "round", "of", "arm", "domain"]
_MEANS = ["accuracy", "joint_accuracy", "nll", "ece"]
_SAME = ["images", "parameters", "macs", "images_per_second"]
_QUESTION = ["question", "student", "domain", "measure"]
_NOTE = (
    "Means over {seeds} seeds, each with its own split of the training images, weights and order; the test images are "
    "the same. ± is one standard error over seeds. A difference is taken within each seed; p is that of Student's "
    "paired t; “none” is less than one standard error, a gain or loss has p < 0.05."
)
_AGAINST_LABELS = ("target or labels alone", "target or smoothed labels", "student taught back or continued on labels")
_VERDICTS = {"gain": "a gain", "loss": "a loss", "none": "less than its error"}
_DRAWN = "Differences of accuracy in points: a dot for each seed, a bar for the mean with one standard error."


def average_models(first_seed: int, *metrics: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model: means over the seeds from `first_seed` on, and their standard errors."""
    joined = _by_seed(first_seed, metrics)
    joined[["arm", "domain"]] = joined[["arm", "domain"]].fillna("")
    # Which student an ensemble lacks depends on the seed.
    of_all = joined[joined.groupby(_MODEL)["seed"].transform("nunique") == len(metrics)]
    means = over_seeds(of_all, _MODEL, _MEANS).rename(columns={"accuracy_error": "standard_error"})
    return means.merge(of_all.groupby(_MODEL, sort=False)[_SAME].first(), on=_MODEL)


def join_comparisons(first_seed: int, *comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return the comparisons of all seeds from `first_seed` on, with their seed."""
    return _by_seed(first_seed, comparisons)


def _by_seed(first_seed: int, tables: tuple[pd.DataFrame, ...]) -> pd.DataFrame:
    numbered = [table.assign(seed=seed).dropna(axis=1, how="all") for seed, table in enumerate(tables, first_seed)]
    return pd.concat(numbered, ignore_index=True).reindex(columns=[*tables[0].columns, "seed"])


def average_differences(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each question: the mean difference over seeds, its standard error, p and verdict."""
    rows = []
    for question, group in _questions(comparisons):
        by_seed = group.set_index("seed")["difference"]
        rows.append(question | {"seeds": len(group)} | paired(by_seed, 0 * by_seed))
    return pd.DataFrame(rows)


def _questions(comparisons: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield each question with its rows, one for each seed."""
    known = comparisons.assign(student=comparisons["student"].fillna(""))
    # The strongest student is another one with another seed.
    known.loc[known["question"].str.contains("strongest"), "student"] = ""
    for key, group in known.groupby(_QUESTION, sort=False):
        yield dict(zip(_QUESTION, key, strict=True)), group


def draw_differences(comparisons: pd.DataFrame) -> Figure:
    """Return the differences of every seed, a line for each question and student."""
    questions = list(_questions(comparisons))
    with sheet(7.8, 0.8 + 0.26 * len(questions)) as figure:
        axes = figure.subplots()
        axes.axvline(0, color=MUTED, linewidth=0.8)
        for position, (_, group) in enumerate(questions):
            values = 100 * group["difference"].to_numpy(dtype=float)
            error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
            axes.plot(values, [position] * len(values), "o", color=BLUE, markersize=3, alpha=0.5)
            axes.errorbar(values.mean(), position, xerr=error, fmt="|", color=BLUE, markersize=9, linewidth=1.6)
        axes.set_yticks(range(len(questions)), [_named(question) for question, _ in questions])
        axes.set_ylim(len(questions) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("difference in points, by seed, and its mean with one standard error")
    return figure


def _named(question: dict[str, Any]) -> str:
    where = [question["student"], question["domain"] if question["domain"] != ALL else ""]
    where += ["domain unknown" if question["measure"] != "accuracy" else ""]
    shown = ", ".join(part for part in where if part)
    return f"{question['question']}: {shown}" if shown else str(question["question"])


def summarise_repeats(models: pd.DataFrame, run_info: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the summary of the repeats for other programs: the mean of every model."""
    return summary_of(models, run_info, seed)


def write_repeats(
    models: pd.DataFrame,
    differences: pd.DataFrame,
    comparisons: pd.DataFrame,
    run_info: dict[str, Any],
    data_report: dict[str, Any],
    parameters: dict[str, Any],
) -> str:
    """Return the page of the repeats as HTML."""
    seeds = int(models["seeds"].max())
    rows = [row | {"name": _named(row)} for row in records(differences)]
    table = Table(
        pd.DataFrame(rows),
        [
            Column("name", "a or b"),
            Column("difference", "a − b, points", "points", "standard_error"),
            Column("p_value", "p", "p"),
            Column("verdict", "gain or loss?", "verdict"),
        ],
        _NOTE.format(seeds=seeds),
    )
    is_mix = models["domain"].nunique() > 1
    shown = models if is_mix else models[(models["stage"] != "ensemble") | (models["arm"] == "mean_probabilities")]
    columns = [
        *(Column(name, name) for name in ("model", "stage", "domain")),
        Column("accuracy", "accuracy %", "percent", "standard_error"),
        *([Column("joint_accuracy", "joint accuracy %", "percent", "joint_accuracy_error")] if is_mix else []),
        Column("nll", "NLL", "number", "nll_error"),
        Column("ece", "ECE %", "percent", "ece_error"),
    ]
    found = [_sentence(row) for row in rows if row["question"] in _AGAINST_LABELS]
    drawn = Drawn("differences", draw_differences(comparisons), _DRAWN)
    return page.write_page(
        f"Knowledge transfer over {seeds} seeds",
        found or ["No model on labels alone stands beside those that were taught: what teaching did is unknown."],
        [
            Section("Differences", figures=[drawn], tables=[table]),
            Section("Models", tables=[Table(shown, columns)]),
        ],
        sources={"seed by seed": data_report},
        run_info=run_info,
        parameters=parameters_of(parameters, ""),
    )


def _sentence(row: dict[str, Any]) -> str:
    error, p = percent(row["standard_error"]), p_value(row["p_value"])
    difference = f"{points(row['difference'])}{GAP}±{GAP}{error} points"
    verdict = _VERDICTS.get(row["verdict"], row["verdict"])
    return f"{row['name']}: {verdict}, {difference} (p{GAP}{'' if p.startswith('<') else f'={GAP}'}{p})."
