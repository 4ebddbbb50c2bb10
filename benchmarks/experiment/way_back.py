"""How much stronger a teacher must be for the way back to pay, from the reports of finished runs.

`python -m benchmarks.experiment.way_back --folders data/seed_0 data/seed_1 …`: each is the `folder` of a run of
`bidirectional` whose arm `students_continued` was trained. Writes the figure to `--figure`.
"""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.process import options
from benchmarks.common.text import table

HEAD = ("", "student", "teacher ahead of the student on labels, nats", "taught − on labels, points")


@dataclass(frozen=True)
class Pair:
    """One student of one run: how far its teacher was ahead on validation, and what that brought on the test images.

    `ahead` is the calibrated NLL of the student on labels less that of its teacher, in nats; `gain` the accuracy of the
    taught student less that of the one on labels, in points, with its standard error.
    """

    run: str
    student: str
    ahead: float
    gain: float
    error: float


def pairs(folder: Path) -> Iterator[Pair]:
    """Yield the pair of every student of a run. Raises SystemExit for a run without the arm on labels."""
    reports = folder / "08_reporting"
    lineage = json.loads((reports / "lineage.json").read_text(encoding="utf-8"))
    with (reports / "comparisons.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["question"] == "student taught back or continued on labels"]
    if not rows:
        raise SystemExit(f"{folder}: no student was continued on labels; evaluation.controls decides it")
    for row in rows:
        after = lineage[f"{row['student']}@{row['a'].rpartition('@')[2]}"]["validation_nll"]
        target = next(key for key in lineage[row["a"]]["parents"] if not key.startswith(f"{row['student']}@"))
        teacher = min(lineage[target]["validation_nll"].values())
        gain, error = 100 * float(row["difference"]), 100 * float(row["standard_error"])
        yield Pair(folder.name, row["student"], after[row["b"]] - teacher, gain, error)


def draw(found: list[Pair], path: Path) -> None:
    """Write the figure: a point for each student of each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="0.5", linewidth=0.8)
    for student, marker in zip(dict.fromkeys(pair.student for pair in found), "osD^vP*X", strict=False):
        own = [pair for pair in found if pair.student == student]
        values = [[getattr(pair, name) for pair in own] for name in ("ahead", "gain", "error")]
        axes.errorbar(values[0], values[1], values[2], fmt=marker, markersize=5, elinewidth=0.8, label=student)
    axes.set_xlabel("teacher ahead of the student on labels: NLL on validation, nats")
    axes.set_ylabel("taught − on labels: accuracy on test, points")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    args = options(__doc__, folders=[""], figure=("way_back.png", "where to"))
    found = [pair for folder in args.folders for pair in pairs(Path(folder))]
    cells = [(each.run, each.student, f"{each.ahead:.2f}", f"{each.gain:+.1f} ± {each.error:.1f}") for each in found]
    print(*table(HEAD, cells), sep="\n")
    ahead, gain = [each.ahead for each in found], [each.gain for each in found]
    print(f"\ncorrelation {statistics.correlation(ahead, gain):.2f}, {len(found)} students of {len(args.folders)} runs")
    draw(found, Path(args.figure))
