"""Figures of the study student_ensemble."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from knowledge_transfer.pipelines.student_ensemble.settings import (
    BEST_FIRST,
    BOOSTED,
    EQUAL,
    MEAN,
    MEMBERS,
    ON_LABELS,
    PLURALITY,
    SMALLEST_FIRST,
    STUDENT,
    TEACHER,
)
from knowledge_transfer.pipelines.student_ensemble.summary_text import PUBLISHED
from knowledge_transfer.reporting.formats import percent
from knowledge_transfer.reporting.style import BLUE, GREEN, INK, MUTED, ORANGE, PALETTE, band, error_bars, sheet

_LINES = (
    (MEMBERS, BEST_FIRST, BLUE, "taught, best on validation first"),
    (MEMBERS, SMALLEST_FIRST, GREEN, "taught, smallest first"),
    (MEMBERS + ON_LABELS, BEST_FIRST, ORANGE, "on labels, best on validation first"),
)


def draw_sizes(sizes: pd.DataFrame, singles: pd.DataFrame) -> Figure:
    """Return accuracy against the number of members, and against the parameters of all of them together."""
    with sheet(9.2, 4.2) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for arm, order, colour, label in _LINES:
            own = sizes[(sizes["arm"] == arm) & (sizes["order"] == order)]
            if own.empty:
                continue
            by_size = own.groupby("members")
            mean = band(left, by_size["test"], colour, label, opacity=0.15)
            right.plot(by_size["parameters"].mean(), mean, color=colour)
            chosen = own[own["is_chosen"]]
            left.plot(chosen["members"], chosen["test"], "o", color=colour, markersize=5)
            right.plot(chosen["parameters"], chosen["test"], "o", color=colour, markersize=5)
        _draw_singles(left, right, singles)
        front = pareto_front(sizes, singles)
        label = "Pareto front on validation"
        right.step(front["parameters"], front["test"], where="post", color=MUTED, linewidth=1.2, label=label)
        left.set_xlabel("members")
        left.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        left.set_ylabel("accuracy on the test set")
        left.yaxis.set_major_formatter(PercentFormatter(1))
        right.set_xscale("log")
        right.set_xlabel("parameters of all members")
        handles = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))
        handles |= dict(zip(*reversed(right.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def _draw_singles(left: Axes, right: Axes, singles: pd.DataFrame) -> None:
    members = singles[singles["arm"] == MEMBERS]
    right.plot(members["parameters"], members["test"], ".", color=BLUE, alpha=0.35, markersize=4, label="one member")
    for arm, style, marker in ((TEACHER, "--", "s"), (STUDENT, ":", "D"), (STUDENT + ON_LABELS, "-.", "d")):
        own = singles[singles["arm"] == arm]
        if len(own):
            mean = own["test"].mean()
            left.axhline(mean, color=INK, linestyle=style, linewidth=1, label=arm)
            right.plot(own["parameters"].mean(), mean, marker, color=INK, markersize=5, label=f"{arm}, its size")


def pareto_front(sizes: pd.DataFrame, singles: pd.DataFrame) -> pd.DataFrame:
    """Return what no smaller model or ensemble equals on validation, smallest first: means over seeds, taught ones."""
    ensembles = sizes[sizes["arm"] == MEMBERS]
    named = [
        f"{members} members, {order}" if members > 1 else f"one member, {order}"
        for members, order in zip(ensembles["members"], ensembles["order"], strict=True)
    ]
    ensembles = ensembles.assign(what=named)
    single = singles[singles["arm"].isin([TEACHER, STUDENT])].assign(what=lambda table: table["arm"])
    columns = ["parameters", "validation", "test"]
    points = pd.concat([ensembles, single]).groupby("what", sort=False)[columns].mean().reset_index()
    points = points.sort_values(["parameters", "validation"], ascending=[True, False], kind="stable")
    best_before = points["validation"].cummax().shift(fill_value=-1.0)
    return points[points["validation"] > best_before].reset_index(drop=True)


def draw_published(name: str, sizes: pd.DataFrame, singles: pd.DataFrame) -> Figure | None:
    """Return error against parameters, both as the source counts them; none for data that it does not have."""
    theirs = PUBLISHED.get(name)
    if theirs is None:
        return None
    with sheet(6.2, 3.6) as figure:
        axes = figure.subplots()
        own = sizes[(sizes["arm"] == MEMBERS) & (sizes["order"] == BEST_FIRST)].groupby("members")
        axes.plot(own["counted"].mean(), 1 - own["test"].mean(), color=BLUE, label="our ensembles")
        for arm, marker in ((TEACHER, "s"), (STUDENT, "D")):
            mine = singles[singles["arm"] == arm]
            axes.plot(mine["counted"].mean(), 1 - mine["test"].mean(), marker, color=BLUE, label=f"our {arm}")
        for number, (arm, (accuracy, parameters)) in enumerate(theirs.items()):
            axes.plot(parameters, 1 - accuracy, "x", color=ORANGE, label=None if number else "published")
            axes.annotate(arm, (parameters, 1 - accuracy), xytext=(4, 4), textcoords="offset points", color=INK)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_minor_formatter("")
        axes.set_xlabel("parameters, counted as the source counts them")
        axes.set_ylabel("error on the test set")
        axes.legend()
    return figure


def draw_sweep(sweep: pd.DataFrame) -> Figure:
    """Return validation accuracy over temperature, a line for each weight of the hard loss, a panel a loss."""
    taught = sweep[sweep["alpha"] > 0]
    losses = list(dict.fromkeys(taught["loss"]))
    with sheet(4.4 * max(len(losses), 1), 3.4) as figure:
        panels = figure.subplots(1, max(len(losses), 1), sharey=True, squeeze=False)[0]
        for axes, loss in zip(panels, losses, strict=False):
            own = taught[taught["loss"] == loss]
            for number, (weight, group) in enumerate(own.groupby("hard_weight")):
                look = {"color": PALETTE[number % len(PALETTE)], "marker": "o", "markersize": 4}
                error_bars(axes, group.groupby("temperature")["validation"], label=f"lambda {weight:g}", **look)
            alone = sweep[sweep["alpha"] == 0]["validation"]
            if len(alone):
                axes.axhline(alone.mean(), color=INK, linestyle="--", linewidth=1, label="labels alone")
            axes.set_title(loss, fontsize=9)
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.set_xticks(sorted(set(own["temperature"])))
            axes.set_xlabel("temperature")
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
        panels[0].set_ylabel("accuracy on validation")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def draw_votes(votes: pd.DataFrame) -> Figure:
    """Return accuracy against the number of members, boosted and not."""
    lines = (
        (BOOSTED, "samme", ORANGE, "-", "boosted, SAMME's vote"),
        (BOOSTED, MEAN, ORANGE, "--", "boosted, mean of probabilities"),
        (EQUAL, MEAN, BLUE, "--", "not boosted, mean of probabilities"),
        (EQUAL, PLURALITY, BLUE, "-", "not boosted, plurality"),
    )
    with sheet(6.2, 3.6) as figure:
        axes = figure.subplots()
        for arm, rule, colour, style, label in lines:
            by_size = votes[(votes["arm"] == arm) & (votes["rule"] == rule)].groupby("members")["test"]
            error_bars(axes, by_size, color=colour, linestyle=style, label=label)
        axes.set_xlabel("members")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_ylabel("accuracy on the test set")
        axes.yaxis.set_major_formatter(lambda share, _: f"{percent(share)}%")
        figure.legend(loc="outside lower center", ncols=2)
    return figure
