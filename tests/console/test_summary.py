"""The end of a run on the console: a table of the models, and where the results are."""

from pathlib import Path
from typing import Any

import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline, node
from kedro_datasets.json import JSONDataset

from knowledge_transfer.console.progress import ProgressHooks


def row(model: str, stage: str, **values: Any) -> dict[str, Any]:
    known = {"round": 1, "accuracy": 0.9876, "nll": 0.1234, "ece": 0.056, "parameters": 78042, "macs": 1}
    return {"model": model, "stage": stage, **known, "images_per_second": 1234.5, **values}


def finish(project: Path, **datasets: Any) -> None:
    nodes = [node(lambda: None, None, name, name=f"make_{name}") for name in datasets]
    run_params = {"project_path": str(project)}
    ProgressHooks().after_pipeline_run(run_params=run_params, pipeline=Pipeline(nodes), catalog=DataCatalog(datasets))


def json(project: Path, path: str, content: Any = None) -> JSONDataset:
    dataset = JSONDataset(filepath=str(project / "data" / path))
    if content is not None:
        dataset.save(content)
    return dataset


def test_a_run_ends_with_table_and_locations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    name = "a_student_with_a_name_that_is_longer_than_forty_columns"
    nothing = dict.fromkeys(("nll", "ece", "macs", "images_per_second"))
    rows = [
        row("labels", "reference"),
        row("ensemble_borda", "ensemble", **nothing),  # one of many rules, which the report has
        row("ensemble_mean_probabilities", "ensemble", **nothing),
        row(name, "after"),
        row(name, "before"),
    ]
    finish(
        tmp_path,
        summary=json(tmp_path, "08_reporting/summary.json", {"rows": rows}),
        report_page=json(tmp_path, "08_reporting/report.html"),
        a_round0_checkpoint=json(tmp_path, "06_models/a.safetensors"),
        b_round0_checkpoint=json(tmp_path, "06_models/b.safetensors"),
    )
    shown = capsys.readouterr().out
    table, locations = shown.split("└")
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines() if line.startswith("│")]
    assert cells == [
        [name, "before", "1", "98.8", "0.123", "5.6", "78,042", "1,234"],
        [name, "after", "1", "98.8", "0.123", "5.6", "78,042", "1,234"],
        ["ensemble_mean_probabilities", "ensemble", "1", "98.8", "–", "–", "78,042", "–"],
        ["labels", "reference", "1", "98.8", "0.123", "5.6", "78,042", "1,234"],
    ]
    assert table.count("├") == 3, "a rule between the stages"
    assert locations.splitlines()[1:] == [
        "report       data/08_reporting/report.html",
        "checkpoints  data/06_models",
        "MLflow       mlflow.db (make mlflow)",
    ]


def test_a_run_without_summary_shows_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host:5000")
    finish(tmp_path)
    assert capsys.readouterr().out == "MLflow       https://host:5000\n"
