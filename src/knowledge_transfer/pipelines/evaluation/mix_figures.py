"""What only a mix of domains has to show: who is how good in which domain, and which domain is taken for which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.evaluation.metrics import standard_error
from knowledge_transfer.pipelines.evaluation.lines import TARGET_ARMS, Line, Measured
from knowledge_transfer.pipelines.evaluation.routing import MOST_CONFIDENT, ORACLE_ROUTED
from knowledge_transfer.reporting.style import heatmap, sheet

Rows = dict[tuple[str, int, str], Measured]
_DRAWN = 3  # models side by side, beyond which the domains' names cannot be read


def panels_of_mix(metrics: pd.DataFrame) -> dict[str, list[Line]]:
    """Return the lines of two panels: with the domain known, and unknown.

    Known: under each domain's name its students and the target; in both the target and its arms on the whole mix.
    """
    records: list[Any] = metrics.to_dict("records")
    rows: Rows = {(row["model"], row["round"], row["domain"]): row for row in records}
    (target,) = metrics.loc[metrics["stage"] == "target", "model"].unique()
    known = []
    for domain, students in metrics[metrics["stage"] == "before"].groupby("domain", sort=False):
        known += [
            *(_line(f"{domain}: {name}", rows, name, str(domain), f"{name}_continued") for name in students["model"]),
            _line(f"{domain}: {target}", rows, target, str(domain), f"{target}_labels"),
        ]
    known += [
        _line("mix: students, routed by an oracle", rows, ORACLE_ROUTED),
        *_of_mix(rows, target),
    ]
    joint = {key: _joint(row) for key, row in rows.items() if key[2] == ALL}
    unknown = [_line("mix: students, the most confident", joint, MOST_CONFIDENT), *_of_mix(joint, target)]
    return {"domain known": known, "domain unknown": unknown}


def _of_mix(rows: Rows, target: str) -> Iterator[Line]:
    yield _line(f"mix: {target}", rows, target)
    for arm, name in TARGET_ARMS.items():
        line = _line(f"mix: {target}, {name}", rows, "", ALL, f"{target}_{arm}")
        if line.reference:
            yield line


def _line(name: str, rows: Rows, model: str, domain: str = ALL, reference: str = "") -> Line:
    """Return the line of `model` on `domain` through all its rounds, beside the last round of `reference`."""
    last = max(round_ for _, round_, _ in rows)
    path = tuple(rows[model, each, domain] for each in range(last + 1) if (model, each, domain) in rows)
    return Line(name, path, rows.get((reference, last, domain)))


def _joint(row: Measured) -> Measured:
    """Return the row with the joint accuracy, which is what the other panel shows, in the place of the accuracy."""
    share = row["joint_accuracy"]
    return row | {"accuracy": share, "standard_error": standard_error(share, row["images"])}


def draw_domain_confusion(domain_confusion: pd.DataFrame) -> Figure:
    """Return which domains are taken for which: by the target, by it without its teachers, by the students together."""
    models = list(dict.fromkeys(domain_confusion["model"]))
    target = models[0].rsplit("@", 1)[0]
    wanted = [
        model for model in models if model in models[:1] or model.startswith((f"{target}_labels@", MOST_CONFIDENT))
    ]
    names = list(dict.fromkeys(domain_confusion["domain"]))
    side = min(1.6 + 0.42 * len(names), 6)
    with sheet(side * len(wanted[:_DRAWN]) + 0.8, side + 0.3) as figure:
        grid = figure.subplots(1, len(wanted[:_DRAWN]), squeeze=False)[0]
        for axes, model in zip(grid, wanted, strict=False):
            rows = domain_confusion[domain_confusion["model"] == model]
            table = rows.pivot_table(index="domain", columns="answer", values="images", aggfunc="sum")
            counts = table.loc[names, names].to_numpy(dtype=float)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            texts = np.where(counts > 0, np.char.mod("%.1f", 100 * shares), "")
            heatmap(axes, shares, texts, names if axes is grid[0] else [""] * len(names), names)
            axes.set_title(model.replace("ensemble_", "").replace("_", " "))
        grid[0].set_ylabel("domain")
        figure.supxlabel("domain of the answer, in % of the row", fontsize=9)
    return figure
