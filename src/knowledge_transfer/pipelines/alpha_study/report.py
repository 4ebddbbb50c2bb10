"""Figure and page of the alpha study."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from knowledge_transfer.experiment.study_tables import ACCURACIES, Page, difference_columns, plain_columns, table_of
from knowledge_transfer.pipelines.alpha_study.settings import TEACHER
from knowledge_transfer.reporting.formats import GAP, percent, plus_minus, points
from knowledge_transfer.reporting.page import Column, Drawn, Section
from knowledge_transfer.reporting.style import INK, PALETTE, band, sheet

_PUBLISHED = "pratt2762/knowledge-distillation"
_COLUMNS = (
    *plain_columns("data", "arm"),
    Column("training", "training %", "percent", "training_error"),
    *ACCURACIES,
    *difference_columns("gain, points"),
    Column("nll", "test NLL", "number"),
    Column("parameters", "parameters", "count"),
    Column("seeds", "seeds", "count"),
)
_NOTE = (
    "Accuracy on images without augmentation. Gain: on the test set, against the least alpha. ±: one standard error "
    "over seeds; gains are paired by seed, p is Student's. There is one teacher: its own spread is in no error."
)
_SOURCE = (
    f"{_PUBLISHED} trains an AlexNet for 20 epochs and three equal CNNs of two convolutions and three linear layers "
    "on CIFAR-10, with the hard loss weighted 1, 0 and 0.5. It weights the hard loss, alpha here weights the soft one: "
    "its 1, 0 and 0.5 are alpha 0, 1 and 0.5.",
    "For comparison, on all of CIFAR-10: an AlexNet for small images reaches about 77 %, a CNN of five layers 83.5 % "
    "from labels and 84.5 % with a teacher's soft labels. A teacher that is no better than its learners also passes on "
    "errors, most of them at alpha 1, where no label corrects them.",
)
_CAPTION = (
    "lines are means over seeds, bands reach from the lowest seed to the highest. Training losses of different alphas "
    "are not comparable."
)


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
                band(axes, by_epoch, PALETTE[number % len(PALETTE)], arm)
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


def compose_page(arms: pd.DataFrame, sets: Mapping[str, Mapping[str, pd.DataFrame]]) -> Page:
    """Return the study's page; of each of the `sets` it takes the learning `curves`."""
    figures = [
        Drawn(f"curves_{name}", draw_curves(tables["curves"]), f"{name}: {_CAPTION}") for name, tables in sets.items()
    ]
    return Page(
        "What the weight of the soft loss does",
        [_lead(name, arms[arms["data"] == name]) for name in sets],
        [
            Section("Learning curves", figures=figures),
            Section("Training, validation and test", tables=[table_of(arms, _COLUMNS, _NOTE)]),
            Section("The published study", text=_SOURCE),
        ],
    )


def _lead(name: str, arms: pd.DataFrame) -> str:
    """Return what alpha did on one data set."""
    taught = arms[arms["alpha"].notna()].sort_values("alpha")
    teacher, least = arms[arms["alpha"].isna()].iloc[0], taught.iloc[0]
    lead = (
        f"{name}: the teacher is right on {percent(teacher['test'])}{GAP}% of the test images; "
        f"{least['arm']} on {percent(least['test'])}{GAP}%"
    )
    others = [
        f"{row['arm']} on {percent(row['test'])}{GAP}% ({points(row['difference'])}"
        f"{plus_minus(row['standard_error'])} points: {row['verdict']})"
        for _, row in taught.iloc[1:].iterrows()
    ]
    return f"{lead}, {', '.join(others)}." if others else f"{lead}; there is no other alpha to compare with."
