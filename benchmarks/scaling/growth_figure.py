"""The figure of `benchmarks.scaling.growth`: the cost of one more image or member over their number."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from benchmarks.scaling.growth import Point


def draw(points: Mapping[str, Mapping[int, Point]], file: Path) -> None:
    """Draw time and memory of each stage per image and per member, and write it to `file`."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    for panel, (what, of_what) in zip(axes, points.items(), strict=True):
        sizes, one = list(of_what), what.removesuffix("s")
        for stage in next(iter(of_what.values())).seconds:
            middle = [1e6 * statistics.median(point.seconds[stage]) / size for size, point in of_what.items()]
            panel.loglog(sizes, middle, marker="o", markersize=4, label=stage.partition(": ")[2])
        memory = [statistics.median(point.memory) / size / 1000 for size, point in of_what.items()]
        panel.loglog(sizes, memory, color="0.4", linestyle="--", marker="s", markersize=4, label="peak memory, kB")
        panel.set(xlabel=what, ylabel=f"µs (memory: kB) per {one}", xticks=sizes)
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8)
        panel.minorticks_off()
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle("What one more costs: a flat line is growth in proportion", fontsize=11)
    figure.savefig(file, dpi=130)
    plt.close(figure)
