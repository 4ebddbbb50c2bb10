"""Figures of the study multi_teacher."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from knowledge_transfer.pipelines.multi_teacher.settings import ENSEMBLE, LABELS, MAIN, ONE_TEACHER, TEACHER
from knowledge_transfer.reporting.style import INK, MUTED, PALETTE, sheet

METHODS = ("output_avg", "loss_avg", "mimic_all", "stacked")
_COLOURS = dict(zip(METHODS, PALETTE, strict=False))


def draw_methods(methods: pd.DataFrame, ensembles: pd.DataFrame) -> Figure:
    """Return test accuracy over the number of teachers, by method, and of the references; bars are standard errors."""
    main = methods[methods["sweep"] == MAIN]
    with sheet(7.2, 3.6) as figure:
        axes = figure.subplots()
        shown = [method for method in METHODS if method in set(main["method"])]
        for number, method in enumerate(shown):
            rows = main[main["method"] == method].sort_values("members")
            shift = 0.06 * (number - (len(shown) - 1) / 2)  # keeps bars of equal methods apart
            _bars(axes, rows["members"] + shift, rows, method, _COLOURS[method])
        ordered = ensembles.sort_values("members")
        _bars(axes, ordered["members"], ordered, ENSEMBLE, INK, line="--")
        for name, colour in ((TEACHER, INK), (ONE_TEACHER, MUTED), (LABELS, MUTED)):
            value = main.loc[(main["method"] == name) & (main["fraction"] == 1), "accuracy"].iloc[0]
            style = ":" if name == LABELS else "-."
            axes.axhline(value, color=colour, linestyle=style, linewidth=1, label=_NAMES[name])
        _finish(axes, "teachers")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside right center")
    return figure


_NAMES = {
    TEACHER: "a teacher alone",
    ONE_TEACHER: "learner of one teacher",
    LABELS: "learner of labels",
    ENSEMBLE: "ensemble of teachers",
}


def draw_sweep(methods: pd.DataFrame, sweep: str) -> Figure:
    """Return accuracy on test over the alphas or the fractions that were tried with the most teachers."""
    most = methods["members"].max()
    with sheet(4.4, 3) as figure:
        axes = figure.subplots()
        for method in dict.fromkeys(methods.loc[methods["sweep"] == sweep, "method"]):
            own = methods[(methods["method"] == method) & (methods["members"] == most)]
            rows = own[own["sweep"].isin((MAIN, sweep))].sort_values(sweep)
            _bars(axes, rows[sweep], rows, method, _COLOURS[method])
        if sweep == "alpha":
            labels = methods[methods["method"] == LABELS]
            _bars(axes, labels["alpha"], labels, _NAMES[LABELS], MUTED)
        else:
            teachers = methods[methods["method"] == TEACHER].sort_values("fraction")
            _bars(axes, teachers["fraction"], teachers, _NAMES[TEACHER], INK, line=":")
        _finish(axes, "alpha" if sweep == "alpha" else "share of the images that each teacher learned from")
        axes.legend()
    return figure


def draw_rules(rules: pd.DataFrame) -> Figure:
    """Return how far every rule is beyond plurality, a panel for each number of teachers; bars as above."""
    sizes: Sequence[int] = sorted(set(rules["members"]))
    names = [rule for rule in dict.fromkeys(rules["rule"]) if rule != "plurality"]
    with sheet(9.2, 0.23 * len(names) + 1) as figure:
        grid = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
        for axes, members in zip(grid, sizes, strict=True):
            rows = rules[rules["members"] == members].set_index("rule").loc[names]
            axes.axvline(0, color=INK, linewidth=1)
            errors = rows["standard_error"].fillna(0)
            axes.errorbar(rows["difference"], range(len(names)), xerr=errors, fmt="o", markersize=4, color=PALETTE[0])
            axes.set_title(f"{members} teachers", fontsize=9)
            axes.xaxis.set_major_formatter(PercentFormatter(1))
            axes.xaxis.set_major_locator(MaxNLocator(2))
        grid[0].set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        grid[0].invert_yaxis()
        figure.supxlabel("accuracy beyond plurality", fontsize=9)
    return figure


def _bars(axes: Axes, x: pd.Series, rows: pd.DataFrame, label: str, colour: str, line: str = "-") -> None:
    errors = rows["accuracy_error"].fillna(0)
    axes.errorbar(x, rows["accuracy"], yerr=errors, color=colour, marker="o", markersize=4, linestyle=line, label=label)


def _finish(axes: Axes, words: str) -> None:
    axes.set_xlabel(words)
    axes.set_ylabel("accuracy on test")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
