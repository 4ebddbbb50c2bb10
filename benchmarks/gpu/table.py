"""`python -m benchmarks.gpu.table gpu.json` prints the report as Markdown tables."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

Rows = dict[str, dict[str, Any]]


def lines_of(report: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of the tables of a report, each section with its seconds, what is missing and what failed."""
    images = report["images"]
    tiny = " **A tiny walk through the code: the numbers mean nothing.**" if report["tiny"] else ""
    yield f"Measured {report['began']}; images: {images['source']}, {images['training']} and {images['test']}.{tiny}"
    for name, section in report["sections"].items():
        yield f"\n### {name} ({section['status']}, {section['seconds']:.0f} s)\n"
        yield from _TABLES[name](section["rows"])
        problems = [*([section["message"]] if "message" in section else [])]
        problems += [f"{row}: {message.splitlines()[0]}" for row, message in section["errors"].items()]
        yield from (f"\n- {problem}" for problem in problems)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_shown(cell) for cell in row)} |"


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"


def _machine(rows: Rows) -> Iterator[str]:
    facts = [(name, str(value)) for name, value in rows.get("facts", {}).items() if name != "seconds"]
    yield from _table(("fact", "value"), facts)
    rates = [(name, row["rate"] / 1e12, 2 * row["rate"] / 1e12) for name, row in rows.items() if "rate" in row]
    yield ""
    yield from _table(("matrix product", "multiply-adds/s, 10¹²", "TFLOP/s"), rates)


def _limit(rows: Rows) -> Iterator[str]:
    sides = ("bare", "learner", "label", "predict")
    head = ("model/batch", *(f"{side}, images/s" for side in sides), "learner/bare")
    yield from _table(
        (*head, "bare of matmul", "label of matmul", "GPU busy", "GiB", "most of a step"),
        [
            (
                name,
                *(row["images_per_second"].get(side) for side in sides),
                row["images_per_second"]["learner"] / row["images_per_second"]["bare"],
                _percent(row["share"]["bare"]),
                _percent(row["share"].get("label")),
                _percent(row["step"]["busy"]),
                row["peak_gibibytes"]["learner"],
                _top(row["step"]["top"]),
            )
            for name, row in rows.items()
        ],
    )


def _top(shares: dict[str, float], count: int = 3) -> str:
    return ", ".join(
        f"`{name[:40].replace('|', ' ')}` {100 * share:.0f} %" for name, share in list(shares.items())[:count]
    )


def _options(rows: Rows) -> Iterator[str]:
    yield from _table(
        ("model", "variant", "images/s", "times eager", "warm-up, s", "pays after steps", "GiB"),
        [
            (
                *name.split("/"),
                row["images_per_second"],
                row["times_eager"],
                row["warm_up_seconds"],
                row["pays_after"],
                row["peak_gibibytes"],
            )
            for name, row in sorted(rows.items(), key=lambda item: item[0].partition("/")[0])
        ],
    )


def _peers(rows: Rows) -> Iterator[str]:
    sides, ratios = ("learning", "labelling", "usual", "in_step"), ("learning", "with_labelling", "of_four")
    yield from _table(
        ("teachers → learner", *(f"{side}, images/s" for side in sides)),
        [(name, *(row["images_per_second"][side] for side in sides)) for name, row in rows.items()],
    )
    yield ""
    yield from _table(
        ("teachers → learner", "times", "learning alone", "with the labelling", "of four learners"),
        [
            (name, rival, *(ratio[which] for which in ratios))
            for name, row in rows.items()
            for rival, ratio in row["ratio"].items()
        ],
    )


def _stacking(rows: Rows) -> Iterator[str]:
    stacked, at_once = rows.get("stacked"), rows.get("at_once")
    sides = []
    if stacked is not None:
        rate = stacked["images_per_second"]
        loop, together = (f"{rate[side]:,.0f} images/s" for side in ("one_after_another", "stacked"))
        sides.append((f"{stacked['members']} tiny students stacked", loop, together, stacked["ratio"]))
    if at_once is not None:
        loop, together = (f"{at_once[side]:.2f} s" for side in ("one_after_another", "at_once"))
        sides.append((f"{', '.join(at_once['alone_seconds'])} in processes", loop, together, at_once["ratio"]))
    yield from _table(("what", "one after another", "together", "ratio"), sides)


def _experiment(rows: Rows) -> Iterator[str]:
    totals: dict[str, float] = defaultdict(float)
    for name, row in rows.items():
        totals[name.partition("/")[0]] += row["seconds"]
    yield from _table(
        ("stage", "what", "seconds", "images/s", "validation"),
        [
            (
                *(name.split("/") if "/" in name else (name, None)),
                row["seconds"],
                row.get("images_per_second"),
                _percent(row.get("validation_accuracy")),
            )
            for name, row in rows.items()
        ],
    )
    yield ""
    yield from _table(("stage", "seconds"), [*totals.items(), ("**all**", sum(totals.values()))])
    if "evaluation/test" not in rows:
        return
    test, validation = (rows[f"evaluation/{which}"]["accuracy"] for which in ("test", "validation"))
    yield ""
    yield from _table(
        ("model@round", "test", "validation"),
        [(key, _percent(test[key]), _percent(validation.get(key))) for key in test],
    )


def _target(rows: Rows) -> Iterator[str]:
    goals = next((list(row["seconds_to"]) for row in rows.values()), [])
    yield from _table(
        (
            "VGG19",
            "epochs",
            "batch",
            *(f"seconds to {goal}" for goal in goals),
            "seconds in all",
            "accuracy",
            "once, s",
        ),
        [
            (
                name,
                row["epochs"],
                row["batch"],
                *row["seconds_to"].values(),
                row["training_seconds"],
                _percent(row["validation_accuracy"]),
                row["once_seconds"],
            )
            for name, row in rows.items()
        ],
    )


_TABLES: dict[str, Callable[[Rows], Iterator[str]]] = {
    "machine": _machine,
    "limit": _limit,
    "options": _options,
    "peers": _peers,
    "stacking": _stacking,
    "experiment": _experiment,
    "target": _target,
}


def main() -> int:
    """Print the tables of the report that is named; return 2 where it cannot be read."""
    try:
        report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    except (IndexError, OSError, ValueError) as error:
        print(f"give the report of benchmarks.gpu as the one argument: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines_of(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
