"""Nodes of the alpha study: tables, figures and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.reporting.formats import GAP, percent, points
from knowledge_transfer.reporting.page import Column, Drawn, Section, Table, write_page
from knowledge_transfer.reporting.statistics import over_seeds, paired, scores
from knowledge_transfer.reporting.style import INK, PALETTE, sheet

_PARTS = ("training", "validation", "test")
_PUBLISHED = "pratt2762/knowledge-distillation"
TEACHER = "teacher"


def score_learners(
    training_answers: SoftLabels,
    training_images: ImageSet,
    validation_answers: SoftLabels,
    validation_images: ImageSet,
    test_answers: SoftLabels,
    test_images: ImageSet,
    **models: Checkpoint,
) -> pd.DataFrame:
    """Return accuracy, NLL and ECE of the teacher and every learner on each set, with its alpha and seed."""
    asked = {
        "training": (training_answers, training_images),
        "validation": (validation_answers, validation_images),
        "test": (test_answers, test_images),
    }
    table = pd.concat([scores(*each).assign(set=part) for part, each in asked.items()], ignore_index=True)
    facts = {model.facts.name: model.facts for model in models.values()}
    table["alpha"] = [(facts[name].distillation or {}).get("alpha") for name in table["model"]]
    table["seed"] = [int(name.rpartition("_seed")[2]) if "_seed" in name else 0 for name in table["model"]]
    table["parameters"] = [facts[name].parameters for name in table["model"]]
    return table


def collect_curves(**models: Checkpoint) -> pd.DataFrame:
    """Return every learning curve with the arm and the seed of its fit, a row an epoch."""
    curves = []
    for name, model in models.items():
        arm, _, seed = name.partition("_seed")
        curves.append(pd.DataFrame(model.curve).assign(arm=_arm(arm), seed=int(seed or 0)))
    return pd.concat(curves, ignore_index=True)


def _arm(name: str) -> str:
    """Return `teacher`, or the alpha as it is written: `alpha 0.5`."""
    if name.endswith(TEACHER):
        return TEACHER
    return "alpha " + name.rpartition("_alpha")[2].replace("_", ".")


def draw_curves(curves: pd.DataFrame) -> Figure:
    """Return loss in training and accuracy on validation over the epochs: means over seeds, and their range."""
    arms = [arm for arm in dict.fromkeys(curves["arm"]) if arm != TEACHER]
    with sheet(9.2, 3.6) as figure:
        grid = figure.subplots(1, 3)
        for axes, what, title in zip(
            grid,
            ("loss", "validation_loss", "validation_accuracy"),
            ("training loss (nats)", "validation loss (nats)", "validation accuracy"),
            strict=True,
        ):
            for number, arm in enumerate(arms):
                by_epoch = curves[curves["arm"] == arm].groupby("epoch")[what]
                mean, low, high = by_epoch.mean(), by_epoch.min(), by_epoch.max()
                colour = PALETTE[number % len(PALETTE)]
                axes.plot(mean.index, mean, color=colour, label=arm)
                axes.fill_between(mean.index, low, high, color=colour, alpha=0.2, linewidth=0)
            if what == "validation_accuracy":
                best = curves.loc[curves["arm"] == TEACHER, what].iloc[-1]
                axes.axhline(best, color=INK, linestyle="--", linewidth=1, label=f"{TEACHER}, at its end")
                axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        handles, labels = grid[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def compare_alphas(**scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row for the teacher and for each alpha on each data set: accuracies, and the difference to the least.

    Means over seeds with their standard errors; differences are of accuracy on the test set, seed by seed.
    """
    rows = []
    for name, table in scores.items():
        wide = table.pivot_table(index=["alpha", "seed"], columns="set", values="accuracy", dropna=False, sort=False)
        taught = table[table["alpha"].notna()]
        least = taught["alpha"].min()
        rows.append(_row(name, table[table["alpha"].isna()], None, {}))
        for alpha in dict.fromkeys(taught["alpha"]):
            difference = {} if alpha == least else paired(wide.loc[alpha]["test"], wide.loc[least]["test"])
            rows.append(_row(name, taught[taught["alpha"] == alpha], alpha, {"least": least, **difference}))
    return pd.DataFrame(rows)


def _row(name: str, table: pd.DataFrame, alpha: float | None, difference: Mapping[str, Any]) -> dict[str, Any]:
    means = over_seeds(table, ["set"], ["accuracy", "nll"]).set_index("set")
    found: dict[str, Any] = {"data": name, "alpha": alpha, "arm": TEACHER if alpha is None else f"alpha {alpha:g}"}
    for part in _PARTS:
        found |= {part: means.loc[part, "accuracy"], f"{part}_error": means.loc[part, "accuracy_error"]}
    found |= {"nll": means.loc["test", "nll"], "parameters": int(table["parameters"].iloc[0])}
    return {**found, "seeds": table["seed"].nunique(), **difference}


def gather_rows(**scores: pd.DataFrame) -> pd.DataFrame:
    """Return every model's accuracy, NLL and ECE on the test set, a row a model."""
    tables = []
    for name, table in scores.items():
        test = table[table["set"] == "test"]
        stage = [f"{name}_teacher" if pd.isna(alpha) else f"{name}_learner" for alpha in test["alpha"]]
        tables.append(test.assign(stage=stage))
    return pd.concat(tables, ignore_index=True)


def write_report(arms: pd.DataFrame, run_info: dict[str, Any], parameters: dict[str, Any], **of_sets: Any) -> str:
    """Return the study's page; `of_sets` are `<name>_curves` and `<name>_data` of every data set."""
    names = list(dict.fromkeys(arms["data"]))
    figures = [
        Drawn(
            f"curves_{name}",
            draw_curves(of_sets[f"{name}_curves"]),
            f"{name}: lines are means over seeds, bands reach from the lowest seed to the highest. The training "
            "losses of different alphas are different sums and do not compare.",
        )
        for name in names
    ]
    columns = [
        Column("data", "data"),
        Column("arm", "arm"),
        Column("training", "training %", "percent", "training_error"),
        Column("validation", "validation %", "percent", "validation_error"),
        Column("test", "test %", "percent", "test_error"),
        Column("difference", "gain, points", "points", "standard_error"),
        Column("p_value", "p", "p"),
        Column("verdict", "verdict"),
        Column("nll", "test NLL", "number"),
        Column("parameters", "parameters", "count"),
        Column("seeds", "seeds", "count"),
    ]
    return write_page(
        "What the weight of the soft loss does",
        [_lead(arms[arms["data"] == name]) for name in names],
        [
            Section("Learning curves", figures=figures),
            Section(
                "Training, validation and test",
                tables=[
                    Table(
                        arms.reindex(columns=[*arms.columns.union([c.name for c in columns], sort=False)]),
                        columns,
                        _NOTE,
                    )
                ],
            ),
            Section("The published study", text=_SOURCE),
        ],
        sources={name: of_sets[f"{name}_data"] for name in names},
        run_info=run_info,
        parameters=parameters,
    )


_NOTE = (
    "Accuracy on images as they are, without augmentation. Gain: on the test set, against the least alpha. ±: one "
    "standard error over seeds; gains are paired by seed, p is Student's. The teacher is one, so that its own chance "
    "is in no error."
)
_SOURCE = (
    f"{_PUBLISHED} trains an AlexNet for 20 epochs and three equal CNNs of two convolutions and three linear layers "
    "on CIFAR-10, with the hard loss weighted 1, 0 and 0.5. It weights the hard loss, alpha here weights the soft one: "
    "its 1, 0 and 0.5 are alpha 0, 1 and 0.5.",
    "To hold ours against, on all of CIFAR-10: an AlexNet for small images is known to be right on about 77 %, a CNN "
    "of five layers on 83.5 % from labels and on 84.5 % with a teacher's soft labels. A teacher that is no better than "
    "its learners has errors to pass on, too, and of these alpha 1 gets most: no label contradicts it.",
)


def _lead(arms: pd.DataFrame) -> str:
    """Return what alpha did on one data set."""
    taught = arms[arms["alpha"].notna()].sort_values("alpha")
    teacher, least = arms[arms["alpha"].isna()].iloc[0], taught.iloc[0]
    said = (
        f"{arms['data'].iloc[0]}: the teacher is right on {percent(teacher['test'])}{GAP}% of the test images; "
        f"{least['arm']} on {percent(least['test'])}{GAP}%"
    )
    others = [
        f"{row['arm']} on {percent(row['test'])}{GAP}% ({points(row['difference'])}{_error(row)} points: "
        f"{row['verdict']})"
        for _, row in taught.iloc[1:].iterrows()
    ]
    return f"{said}, {', '.join(others)}." if others else f"{said}; there is no other alpha to compare with."


def _error(row: pd.Series) -> str:
    return "" if pd.isna(row["standard_error"]) else f" ± {percent(row['standard_error'])}"
