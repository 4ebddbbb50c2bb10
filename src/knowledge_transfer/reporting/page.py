"""The page of a study: sentences, figures and tables in sections, and how to run it again; it stands alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any, Literal

import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from knowledge_transfer.learning.config import Config
from knowledge_transfer.reporting.formats import p_value, percent, points
from knowledge_transfer.reporting.style import inline_svg

STYLE = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
_FORMATS: dict[str, Callable[[Any], str]] = {
    "text": str,
    "prose": str,
    "percent": percent,
    "points": points,
    "p": p_value,
    "count": "{:,.0f}".format,
    "number": "{:.3f}".format,
    "short": "{:g}".format,
}


@dataclass(frozen=True)
class Column:
    """A column of a page's table: which of the frame's, under what heading, how written.

    prose wraps; percent and points: shares in [0, 1], written times 100. `error` names the column of the standard
    error, which then follows a ±.
    """

    name: str
    heading: str
    how: Literal["text", "prose", "percent", "points", "p", "count", "number", "short"] = "text"
    error: str | None = None

    @property
    def style(self) -> str:
        """The class of its cells: numbers are set flush right."""
        return {"text": "", "prose": "wrapped"}.get(self.how, "number")

    def write(self, row: Mapping[str, Any]) -> str:
        """Return the cell of that row; a dash where there is no value."""
        value = row[self.name]
        if value is None or pd.isna(value):
            return "–"
        text = _FORMATS[self.how](value)
        error = None if self.error is None else row[self.error]
        if error is None or pd.isna(error):
            return text
        return f"{text} ± {_FORMATS['percent' if self.how == 'points' else self.how](error)}"


@dataclass(frozen=True)
class Table:
    """A table of a page."""

    frame: pd.DataFrame
    columns: Sequence[Column]
    note: str = ""

    @property
    def cells(self) -> list[list[str]]:
        """What is written in it, row by row."""
        return [[column.write(row) for column in self.columns] for row in self.frame.to_dict("records")]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Drawn:
    """A figure of a page and what stands below it; `name` is unique on the page."""

    name: str
    figure: Figure
    caption: str
    is_small: bool = False

    @property
    def svg(self) -> str:
        """The figure as an SVG element that takes the colours of the page."""
        return inline_svg(self.figure, self.name)


@dataclass(frozen=True)
class Section:
    """A part of a page: paragraphs, then figures, then tables."""

    heading: str
    text: Sequence[str] = ()
    figures: Sequence[Drawn] = ()
    tables: Sequence[Table] = ()


def write_page(
    title: str,
    lead: Sequence[str],
    sections: Sequence[Section],
    *,
    sources: Mapping[str, Mapping[str, Any]],
    run_info: Mapping[str, Any],
    parameters: Mapping[str, Any],
) -> str:
    """Return the page as HTML: no script, nothing fetched from anywhere.

    `lead` is what a reader in a hurry takes away; `sources` are the data reports by the name of the data set.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        lead=lead,
        sections=sections,
        sources=sources,
        run=run_info,
        date=datetime.fromtimestamp(run_info["started"], timezone.utc),
        seconds=time.time() - run_info["started"],
        parameters=dict(flat(parameters)),
        css=STYLE,
    )


def flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every leaf under its dotted key, both as `kedro run --params` spells them."""
    for key, value in nested.items():
        # What a node takes as a checked model is one in the parameters, too.
        plain = value.model_dump(mode="json") if isinstance(value, Config) else value
        if isinstance(plain, Mapping) and plain:
            yield from flat(plain, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain if isinstance(plain, str) else json.dumps(plain)
