"""The columns of tables, and each measure of a model once: for summary, console, MLflow and pages.

To add a measure, add a line to `MEASURES` and compute it under the same key, in `score_models` or in a study.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.reporting.formats import p_value, percent, points

if TYPE_CHECKING:  # the console reads this module too, and starts without pandas
    import pandas as pd

Format = Literal[
    "text", "prose", "code", "verdict", "percent", "points", "p", "count", "number", "short", "millions", "megabytes"
]
_FORMATS: dict[str, Callable[[Any], str]] = {
    "percent": percent,
    "points": points,
    "p": p_value,
    "count": "{:,.0f}".format,
    "number": "{:.3f}".format,
    "short": "{:g}".format,
    "megabytes": lambda value: f"{value / 1e6:,.2f} MB",
    "millions": lambda value: f"{value / 1e6:,.1f} M",
}
_STYLES = {"text": "", "prose": "wrapped", "code": "code", "verdict": "verdict"}


@dataclass(frozen=True)
class Column:
    """A column of a table: its name in the frame, its heading, its format.

    Prose wraps; percent and points are shown times 100. `error` names the column of the standard error, `remark` that
    of a note.
    """

    name: str
    heading: str
    how: Format = "text"
    error: str | None = None
    remark: str | None = None

    @property
    def style(self) -> str:
        """The class of its cells: numbers are set flush right."""
        return _STYLES.get(self.how, "number")

    def style_of(self, row: Mapping[str, Any]) -> str:
        """Return the class of the cell of that row: a gain or a loss is coloured."""
        value = row.get(self.name)
        return f"{self.style} {value}" if self.how == "verdict" and value in ("gain", "loss") else self.style

    def write(self, row: Mapping[str, Any]) -> str:
        """Return the cell of that row; a dash where there is no value."""
        value = row[self.name]
        if _is_missing(value):
            return "–"
        text = _FORMATS.get(self.how, str)(value)
        error = None if self.error is None else row[self.error]
        if _is_missing(error):
            return text
        return f"{text} ± {_FORMATS['percent' if self.how == 'points' else self.how](error)}"

    def remark_of(self, row: Mapping[str, Any]) -> str:
        """Return what follows the text in the cell of that row, nothing where there is no remark."""
        remark = None if self.remark is None else row[self.remark]
        return "" if _is_missing(remark) else str(remark)


@dataclass(frozen=True)
class Measure:
    """A measure of a model: its column, and where it is shown; `where` names the rows that have it."""

    column: Column
    better: Literal["higher", "lower"] | None = None
    on_console: bool = True
    in_mlflow: bool = False
    where: Literal["every run", "experiments", "mix"] = "every run"

    @property
    def page_column(self) -> Column:
        """The column of a page, with an arrow in the better direction."""
        arrow = {"higher": " ↑", "lower": " ↓", None: ""}[self.better]
        return replace(self.column, heading=f"{self.column.heading}{arrow}")


MEASURES = (
    Measure(Column("accuracy", "accuracy %", "percent", "standard_error"), "higher", in_mlflow=True),
    Measure(Column("joint_accuracy", "joint accuracy %", "percent"), "higher", in_mlflow=True, where="mix"),
    Measure(Column("nll", "NLL", "number"), "lower", in_mlflow=True),
    Measure(Column("ece", "ECE %", "percent"), "lower", in_mlflow=True),
    Measure(Column("parameters", "parameters", "count")),
    Measure(Column("macs", "multiply-adds", "millions"), on_console=False, where="experiments"),
    Measure(Column("images_per_second", "images/s", "count")),
)


def measures_of(*, is_mix: bool = False, is_study: bool = False) -> tuple[Measure, ...]:
    """Return the measures that the rows of such a run have."""
    hidden = {"mix": not is_mix, "experiments": is_study}
    return tuple(measure for measure in MEASURES if not hidden.get(measure.where, False))


def summary_of(
    table: pd.DataFrame, run_info: Mapping[str, Any], seed: int, *, is_study: bool = False
) -> dict[str, Any]:
    """Return the summary of a run for MLflow, the console and other programs, in strict JSON.

    `table` has model and stage, an experiment's also round and domain, and any measure; missing ones are null. The
    models of a study are of round 0.
    """
    rows = records(table)
    mixed = not is_study and any(row["domain"] != ALL for row in rows)
    keys = [measure.column.name for measure in measures_of(is_mix=mixed, is_study=is_study)]
    return {
        "pipeline": run_info["pipeline"],
        "environment": run_info["environment"],
        "seed": seed,
        "seconds": round(time.time() - run_info["started"], 1),
        "rows": [
            {
                "model": row["model"],
                "stage": row["stage"],
                "round": 0 if is_study else int(row["round"]),
                **({"domain": row["domain"]} if mixed else {}),
                **{key: row.get(key) for key in keys},
                **({} if is_study else {"warning": row.get("warning")}),
            }
            for row in rows
        ],
    }


def console_columns(rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Return the columns of the table at the end of a run."""
    mixed = bool(rows) and "domain" in rows[0]
    names = ("model", "stage", *(["domain"] if mixed else []))
    shown = [measure.column for measure in measures_of(is_mix=mixed) if measure.on_console]
    return [
        *(Column(name, name) for name in names),
        Column("round", "round", "count"),
        *(replace(column, error=None) for column in shown),
    ]


def tracked(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the measures of a row that MLflow keeps, by key; missing ones are left out."""
    keys = [measure.column.name for measure in MEASURES if measure.in_mlflow]
    return {key: row[key] for key in keys if row.get(key) is not None}


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table with None for what is missing."""
    return [
        {str(name): None if _is_missing(value) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _is_missing(value: Any) -> bool:
    return value is None or (not isinstance(value, str) and math.isnan(value))
