"""The page of an experiment or a study: sentences, then sections of figures and tables, then how to run it again."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from knowledge_transfer.learning.config import Config
from knowledge_transfer.reporting.columns import Column, records
from knowledge_transfer.reporting.style import inline_svg

__all__ = ["Column", "Drawn", "Section", "Table", "flat", "lineage_section", "write_page"]
STYLE = files(__package__).joinpath("page.css").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Table:
    """A table of a page; `group_by` names the column of group headings; `fold` is the line that hides it."""

    frame: pd.DataFrame
    columns: Sequence[Column]
    note: str | Sequence[str] = ()
    title: str = ""
    group_by: str | None = None
    fold: str = ""

    @property
    def notes(self) -> Sequence[str]:
        """The notes, one a paragraph."""
        return [note for note in ([self.note] if isinstance(self.note, str) else self.note) if note]

    @property
    def groups(self) -> list[tuple[str, list[dict[str, Any]]]]:
        """The rows under the heading of each group, in the order of the frame."""
        if self.group_by is None:
            return [("", records(self.frame))]
        return [(str(heading), records(rows)) for heading, rows in self.frame.groupby(self.group_by, sort=False)]


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
    """A part of a page: paragraphs, then figures, side by side in a pair, then tables."""

    heading: str
    text: Sequence[str] = ()
    figures: Sequence[Drawn] = ()
    tables: Sequence[Table] = ()
    is_pair: bool = False


def write_page(
    title: str,
    lead: Sequence[str],
    sections: Sequence[Section],
    *,
    sources: Mapping[str, Mapping[str, Any]],
    run_info: Mapping[str, Any],
    parameters: Mapping[str, Any],
    appendix: Sequence[Section] = (),
) -> str:
    """Return the page as HTML: no script, nothing fetched from anywhere.

    `lead` are the main results; `sources` the data reports by data set, shown between `sections` and `appendix`.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        lead=lead,
        sections=[*sections, _data(sources), *appendix],
        run=run_info,
        date=datetime.fromtimestamp(run_info["started"], timezone.utc),
        seconds=time.time() - run_info["started"],
        parameters=dict(flat(parameters)),
        css=STYLE,
    )


def _data(sources: Mapping[str, Mapping[str, Any]]) -> Section:
    """Return the section that counts the images, in a mix also those of each domain."""
    mixes = [data["domains"] for data in sources.values() if len(data.get("domains", ())) > 1]
    return Section(
        "Data", [_counts(name, data) for name, data in sources.items()], tables=[_domains(mix) for mix in mixes]
    )


def _counts(source: str, data: Mapping[str, Any]) -> str:
    sets = ", ".join(f"{name} set {count:,}" for name, count in data["images"].items())
    hidden = f", {data['unlabelled']:,} of the transfer set without a label" if data.get("unlabelled") else ""
    return (
        f"{source}: {len(data['class_names'])} classes, images of {' × '.join(map(str, data['shape']))}; {sets} "
        f"images, none in two sets{hidden}; {data['dropped_because_in_test_set']:,} were left out because they also "
        "occur in the test set."
    )


def _domains(mix: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [{"domain": name, "classes": len(part["class_names"]), **part["images"]} for name, part in mix.items()]
    counted = [Column(name, name, "count") for name in rows[0] if name != "domain"]
    return Table(pd.DataFrame(rows), [Column("domain", "domain"), *counted])


def lineage_section(lineage: Mapping[str, Mapping[str, Any]]) -> Section:
    """Return the section on what each model, by key, descends from: weights, images, seed, parents."""
    rows = [
        {
            "model": key,
            "weights": model["sha256"][:12],
            "images": model["images_sha256"][:12],
            "seed": str(model["seed"]),
            "descends from": ", ".join(f"{parent} {sha256[:8]}" for parent, sha256 in model["parents"].items()),
        }
        for key, model in lineage.items()
    ]
    codes = [Column(name, name, "code") for name in ("weights", "images", "seed")]
    columns = [Column("model", "model"), *codes, Column("descends from", "descends from", "prose")]
    note = "First digits of SHA-256. Evaluation refuses models that descend from others than those here."
    return Section("Lineage", tables=[Table(pd.DataFrame(rows), columns, note)])


def flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every leaf under its dotted key, both as `kedro run --params` spells them."""
    for key, value in nested.items():
        # A parameter that a node takes as a checked model is a model here, too.
        plain = value.model_dump(mode="json") if isinstance(value, Config) else value
        if isinstance(plain, Mapping) and plain:
            yield from flat(plain, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", plain if isinstance(plain, str) else json.dumps(plain)
