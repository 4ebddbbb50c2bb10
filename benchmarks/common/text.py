"""How numbers become text: spreads, shares, cells and Markdown tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any


def spread(values: Iterable[float], digits: int = 0, unit: str = "") -> str:
    """Return median (least … most)."""
    values = list(values)
    middle, least, most = (f"{each:,.{digits}f}" for each in (statistics.median(values), min(values), max(values)))
    return f"{middle}{unit} ({least} … {most})"


def with_error(values: Sequence[float], digits: int = 2) -> str:
    """Return mean ± standard error of the mean, which is not a number for a single value."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.{digits}f} ± {error:.{digits}f}"


def percent(share: float | None) -> str | None:
    """Return a share as per cent, None where there is none."""
    return None if share is None else f"{share:.1%}"


def shares(parts: Mapping[str, float]) -> str:
    """Return the share of each part in per cent."""
    return ", ".join(f"{name} {share:.1%}" for name, share in parts.items())


def cell(value: Any) -> str:
    """Return a value as the text of a cell; a list of numbers as its spread."""
    if value is None:
        return "–"
    if isinstance(value, list):
        return spread(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell(value) for value in row)} |"
