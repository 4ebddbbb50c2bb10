"""The report as Markdown tables: `python -m benchmarks.speed.tables speed.json` prints them."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.common.text import percent, shares, spread, table
from benchmarks.speed.peers.tables import lines as peers_lines

Rows = dict[str, dict[str, Any]]


def lines_of(report: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the tables of a report: each section with its seconds, and what is missing or failed."""
    images = report["images"]
    tiny = " **A tiny walk through the code: the numbers mean nothing.**" if report["tiny"] else ""
    yield f"Measured {report['began']}; images: {images['source']}, {images['training']} and {images['test']}.{tiny}"
    for name, section in report["sections"].items():
        yield f"\n### {name} ({section['status']}, {section['seconds']:.0f} s)\n"
        yield from TABLES[name](section["rows"])
        problems = [*([section["message"]] if "message" in section else [])]
        problems += [f"{row}: {message.splitlines()[0]}" for row, message in section["errors"].items()]
        yield from (f"\n- {problem}" for problem in problems)


def _columns(rows: Rows, name: str, **columns: str | Callable[[dict[str, Any]], Any]) -> Iterator[str]:
    """Yield a table of rows: the name of each, then its columns by heading.

    A column is a function of the row, or the path to its value such as `share/bare`; values of `share` are per cent.
    """
    head = (name, *(heading.replace("_", " ") for heading in columns))
    cells = ((key, *(_value(row, column) for column in columns.values())) for key, row in rows.items())
    yield from table(head, cells)


def _value(row: Any, column: str | Callable[[dict[str, Any]], Any]) -> Any:
    if callable(column):
        return column(row)
    for key in column.split("/"):
        row = None if row is None else row.get(key)
    return percent(row) if column.startswith("share/") or column.endswith(("accuracy", "busy")) else row


def _machine(rows: Rows) -> Iterator[str]:
    facts = [(name, str(value)) for name, value in rows.get("facts", {}).items() if name != "seconds"]
    yield from table(("fact", "value"), facts)
    rates = [(name, row["rate"] / 1e9, 2 * row["rate"] / 1e12) for name, row in rows.items() if "rate" in row]
    yield ""
    yield from table(("matrix product", "multiply-adds/s, 10⁹", "TFLOP/s"), rates)


def _limits(rows: Rows) -> Iterator[str]:
    sides = {side: f"images_per_second/{side}" for side in ("steps", "labelling", "evaluation")}
    of_product = {f"{side}_of_product": f"share/{side}" for side in ("bare", *sides)}
    yield from _columns(
        rows,
        "images/s",
        M_multiply_adds=lambda row: row["multiply_adds"] / 1e6,
        **sides,
        steps_of_bare=lambda row: spread([100 * each for each in row["of_bare"]], unit=" %"),
        **of_product,
        GiB="peak_gibibytes",
    )
    yield ""
    yield from _columns(
        rows, "a step", phases=lambda row: shares(row["step"]["phases"]), kernels=_kernels, busy="step/busy"
    )


def _kernels(row: dict[str, Any]) -> str:
    most = list(row["step"]["top"].items())[:6]
    return shares({name[:40].replace("|", " "): share for name, share in most})


def _options(rows: Rows) -> Iterator[str]:
    names = ("images_per_second", "times_eager", "warm_up_seconds", "pays_after")
    by_model = dict(sorted(rows.items(), key=lambda row: row[0].partition("/")[0]))
    yield from _columns(by_model, "model/variant", **{name: name for name in names}, GiB="peak_gibibytes")


def _stacking(rows: Rows) -> Iterator[str]:
    yield from _columns(rows, "what", **{name: name for name in ("one_after_another", "together", "ratio")})


def _experiment(rows: Rows) -> Iterator[str]:
    rate, accuracy = {"images/s": "images_per_second"}, "validation_accuracy"
    yield from _columns(rows, "stage/model", seconds="seconds", **rate, validation=accuracy)
    yield ""
    totals: dict[str, float] = defaultdict(float)
    for name, row in rows.items():
        totals[name.partition("/")[0]] += row["seconds"]
    yield from table(("stage", "seconds"), [*totals.items(), ("**all**", sum(totals.values()))])
    if "evaluation/test" in rows:
        test, validation = (rows[f"evaluation/{which}"]["accuracy"] for which in ("test", "validation"))
        yield ""
        accuracies = [(key, percent(test[key]), percent(validation.get(key))) for key in test]
        yield from table(("model@round", "test", "validation"), accuracies)


def _target(rows: Rows) -> Iterator[str]:
    goals = {f"seconds to {goal}": f"seconds_to/{goal}" for row in rows.values() for goal in row["seconds_to"]}
    names = ("training_seconds", "validation_accuracy", "once_seconds")
    yield from _columns(rows, "VGG19", epochs="epochs", batch="batch", **goals, **{name: name for name in names})


TABLES: dict[str, Callable[[Rows], Iterator[str]]] = {
    "machine": _machine,
    "limits": _limits,
    "options": _options,
    "peers": lambda rows: peers_lines([run for row in rows.values() for run in row["runs"]]),
    "stacking": _stacking,
    "experiment": _experiment,
    "target": _target,
}


if __name__ == "__main__":
    try:
        content = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    except (IndexError, OSError, ValueError) as error:
        sys.exit(f"give the report of benchmarks.speed as the one argument: {error}")
    print(*lines_of(content), sep="\n")
