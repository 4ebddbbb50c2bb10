"""The figures of evaluation, each from one of its tables."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter

from knowledge_transfer.experiment.stage_config import CONTINUED, TAUGHT
from knowledge_transfer.pipelines.evaluation.predictions import MOST_CONFIDENT
from knowledge_transfer.reporting.style import INK, MUTED, PALETTE, heatmap, sheet

_MOST_NUMBERED = 20  # classes, beyond which numbers in the cells cannot be read
_FEWEST_IN_BIN = 10  # images, below which an accuracy is mostly chance
_HIGHEST_LOSS = 10.0  # nats; one fit with a bad start would flatten all others
_DOMAIN_MODELS = 3  # side by side, beyond which the names of the domains cannot be read


def draw_learning_curves(curves: pd.DataFrame) -> Figure:
    """Return validation accuracy and loss of every fit by epoch, a column for each stage."""
    students = list(dict.fromkeys(curves.loc[curves["stage"] == "before", "of"]))
    is_students = curves["of"].isin(students)
    panels = {
        "students, on labels": curves[curves["stage"] == "before"],
        "target, taught": curves[~is_students],
        "students, taught back": curves[is_students & (curves["stage"] != "before")],
    }
    with sheet(9.2, 5.4) as figure:
        grid = figure.subplots(2, len(panels), sharex="col", sharey="row")
        for column, (title, fits) in enumerate(panels.items()):
            for axes, measure in zip(grid[:, column], ("validation_accuracy", "validation_loss"), strict=True):
                _curves(axes, fits, measure, students)
            grid[0, column].set_title(title)
            grid[1, column].set_xlabel("epoch")
            grid[1, column].xaxis.set_major_locator(MaxNLocator(5, integer=True))
            grid[1, column].legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), fontsize=8)
        grid[0, 0].set_ylabel("validation accuracy")
        grid[0, 0].yaxis.set_major_formatter(PercentFormatter(1))
        _scale_loss(grid[1, 0])
    return figure


def _scale_loss(axes: Axes) -> None:
    axes.set_ylabel("validation loss (nats)")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_ylim(top=min(axes.get_ylim()[1], _HIGHEST_LOSS))


def _curves(axes: Axes, fits: pd.DataFrame, measure: str, students: list[str]) -> None:
    """Draw one line for each model, its rounds one after the other; dashed for a reference arm."""
    for number, (model, rows) in enumerate(fits.groupby("model", sort=False)):
        ordered = rows.sort_values(["round", "epoch"])
        stage, of = ordered[["stage", "of"]].iloc[0]
        # Students keep their colour in all panels, so the target's arms take theirs from the other end.
        colour = students.index(of) if of in students else -number
        is_arm = stage == "reference"
        axes.plot(
            range(1, len(ordered) + 1),
            ordered[measure],
            color=INK if of not in students and stage == TAUGHT else PALETTE[colour % len(PALETTE)],
            linestyle="--" if is_arm else "-",
            linewidth=1.1 if is_arm else 1.6,
            label=model if stage != TAUGHT and of not in students else None if is_arm else of,
        )
        for start in np.flatnonzero(ordered["epoch"].to_numpy() == 1)[1:]:
            axes.axvline(start + 0.5, color=MUTED, linewidth=0.6)
    if (fits["arm"] == CONTINUED).any():
        axes.plot([], [], "--", color=MUTED, linewidth=1.1, label="continued on labels")


def draw_confusion(confusion: pd.DataFrame) -> Figure:
    """Return the confusions of the target between classes, shaded as shares of the row."""
    names = list(confusion.columns[1:])
    counts = confusion.iloc[:, 1:].to_numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = np.where(counts > 0, counts.astype(str), "") if len(names) <= _MOST_NUMBERED else None
    side = min(1.8 + 0.34 * len(names), 8.5)
    with sheet(side, side) as figure:
        axes = figure.subplots()
        heatmap(axes, shares, texts, names, names)
        axes.set_xlabel("prediction of the target")
        axes.set_ylabel("label")
    return figure


def draw_agreement(agreement: pd.DataFrame) -> Figure:
    """Return the percentage of test images on which two models predict the same class."""
    names = list(agreement.columns[1:])
    shares = agreement.iloc[:, 1:].to_numpy(dtype=float)
    texts = np.where(np.tri(len(names), k=-1, dtype=bool), np.char.mod("%.1f", 100 * shares), "")
    # Chance agreement is far from 0: the shades begin at the minimum. Each pair is shown once.
    shades = np.where(texts != "", (shares - shares.min()) / max(1 - shares.min(), 1e-9) * 0.9 + 0.1, 0)
    side = min(2.6 + 0.42 * len(names), 8.5)
    with sheet(side, side - 0.3) as figure:
        heatmap(figure.subplots(), shades[1:, :-1], texts[1:, :-1], names[1:], names[:-1])
    return figure


def draw_calibration(calibration: pd.DataFrame) -> Figure:
    """Return accuracy by confidence; on the diagonal both are equal."""
    enough = calibration[calibration["images"] >= min(_FEWEST_IN_BIN, calibration["images"].max())]
    lowest = max(np.floor(10 * enough[["confidence", "accuracy"]].min(axis=None) - 0.5) / 10, 0)
    with sheet(4.8, 5) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8)
        for number, (model, bins) in enumerate(enough.groupby("model", sort=False)):
            errors = np.sqrt(bins["accuracy"] * (1 - bins["accuracy"]) / bins["images"])
            axes.errorbar(
                bins["confidence"],
                bins["accuracy"],
                errors,
                fmt="-" + "osD"[number % 3],
                color=PALETTE[number],
                linewidth=1.2,
                elinewidth=0.8,
                markersize=4,
                label=str(model).replace("_mean_probabilities", ""),
            )
        axes.set_xlabel(f"confidence of the prediction (bins of {_FEWEST_IN_BIN} images or more)")
        axes.set_ylabel("accuracy, with one standard error")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1))
            axis.set_major_locator(MaxNLocator(5))
        axes.set(aspect="equal", xlim=(lowest, 1.02), ylim=(lowest, 1.02))
        figure.legend(loc="outside upper left", ncols=3, columnspacing=1.2, handlelength=1.4)
    return figure


def draw_domain_confusion(domain_confusion: pd.DataFrame) -> Figure:
    """Return the confusions between domains: of the target, of the target on labels, of the students together."""
    wanted = domain_confusion["arm"].isna() | domain_confusion["arm"].isin(["labels", MOST_CONFIDENT])
    names = list(dict.fromkeys(domain_confusion["domain"]))
    panels = list(domain_confusion[wanted].groupby("model", sort=False))[:_DOMAIN_MODELS]
    side = min(1.6 + 0.42 * len(names), 6)
    with sheet(side * len(panels) + 0.8, side + 0.3) as figure:
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (model, rows) in zip(grid, panels, strict=True):
            table = rows.pivot_table(index="domain", columns="predicted", values="images", aggfunc="sum")
            counts = table.loc[names, names].to_numpy(dtype=float)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            texts = np.where(counts > 0, np.char.mod("%.1f", 100 * shares), "")
            heatmap(axes, shares, texts, names if axes is grid[0] else [""] * len(names), names)
            axes.set_title(str(model).replace("ensemble_", "").replace("_", " "))
        grid[0].set_ylabel("domain")
        figure.supxlabel("predicted domain, in % of the row", fontsize=9)
    return figure
