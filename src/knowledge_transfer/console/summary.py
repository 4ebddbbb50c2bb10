"""The end of a run on the console: the accuracy of every model, and where the results are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich
from rich.console import Console
from rich.table import Table

from knowledge_transfer.datasets.storage.store import file_of, without_password
from knowledge_transfer.experiment.current import is_inference, summary_rows
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.reporting.columns import Column, console_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline

_STAGES = ("before", "after", "ensemble", "target", "taught", "reference")
_RULE = "ensemble_mean_probabilities"  # the report has all fourteen rules
_EXPORTS, _EXPORTED = "exports_table", "exported_models"
_COST = (
    Column("model", "model"),
    Column("bytes", "file", "megabytes"),
    Column("parameters", "parameters", "count"),
    Column("validation_accuracy", "validation %", "percent"),
    Column("milliseconds_one", "ms, one image", "number"),
    Column("milliseconds_batch", "ms, 64 images", "number"),
)
_WIDE = 160  # characters, because a log file has no width


def print_results(project: Path, pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Print the summary that `pipeline` made, if it made one, and where its results are."""
    console = rich.get_console()
    if not console.is_terminal:
        console = Console(width=_WIDE)
    if rows := summary_rows(pipeline, catalog):
        console.print(summary_table(_selected(rows)))
    for name, warning in {
        f"{row['model']}@{row['round']}": row["warning"] for row in rows if row.get("warning")
    }.items():
        console.print(f"{name} {warning}", highlight=False, markup=False, soft_wrap=True)
    if _EXPORTS in pipeline.all_outputs():
        # Not through the catalog, which would log that it loads.
        console.print(_table(catalog.get(_EXPORTS).load().to_dict("records"), _COST))
    for line in _locations(project, pipeline, catalog):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _selected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows for the console: ensembles under one rule; in a mix, single domains of the target only."""
    if ALL not in {row.get("domain") for row in rows}:
        return [row for row in rows if row["stage"] != "ensemble" or row["model"] == _RULE]
    everywhere = {row["model"] for row in rows if row["domain"] == ALL}
    return [row for row in rows if row["domain"] == ALL or row["model"] not in everywhere or row["stage"] == "target"]


def summary_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return a table of the rows, grouped by stage in the order of the experiment."""
    rows = list(rows)
    order = {stage: number for number, stage in enumerate(_STAGES)}
    return _table(sorted(rows, key=lambda row: order.get(row["stage"], len(order))), console_columns(rows))


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Table:
    """Return a table of the rows, with a line between stages."""
    table = Table()
    for column in columns:
        table.add_column(column.heading, justify="right" if column.style == "number" else "left", no_wrap=True)
    shown = None
    for row in rows:
        if shown not in (None, row.get("stage")):
            table.add_section()
        shown = row.get("stage")
        known = {column.name: row.get(column.name) for column in columns}
        table.add_row(*(column.write(known) for column in columns))
    return table


def _locations(project: Path, pipeline: Pipeline, catalog: DataCatalog) -> Iterable[str]:
    """Yield where the report, the checkpoints and the tracked runs are."""
    outputs = pipeline.all_outputs()
    for name in sorted(outputs):
        if name.endswith(("report_page", "predictions_page", "predictions_table")) and (file := file_of(catalog, name)):
            yield f"{'report' if name.endswith('report_page') else 'predictions':12} {_within(project, file.address)}"
    files = [file_of(catalog, name) for name in outputs if name.endswith("_checkpoint")]
    for folder in sorted({file.address.rpartition("/")[0] for file in files if file}):
        yield f"checkpoints  {_within(project, folder)}"
    if _EXPORTED in outputs and (exported := file_of(catalog, _EXPORTED)):
        yield f"files        {_within(project, exported.address)}"
    if is_inference(pipeline):
        return
    local = f"sqlite:///{project / 'mlflow.db'}"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or local
    yield f"MLflow       {'mlflow.db (make mlflow)' if uri == local else without_password(uri)}"


def _within(project: Path, address: str) -> str:
    path = Path(address)
    return str(path.relative_to(project)) if path.is_relative_to(project) else address
