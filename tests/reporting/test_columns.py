"""Measures of models: one declaration shows a measure in summary, console, MLflow and pages."""

import json

import pandas as pd
import pytest

from knowledge_transfer.console.summary import summary_table
from knowledge_transfer.learning.evaluation.metrics import SCORES
from knowledge_transfer.reporting import columns
from knowledge_transfer.reporting.columns import Column, Measure, summary_of, tracked

RUN = {"pipeline": "alpha_study", "environment": "base", "started": 0.0}
ROW = {
    "model": "cnn", "stage": "before", "round": 0, "domain": "all", "accuracy": 0.5, "joint_accuracy": 0.5, "nll": 0.7,
    "ece": float("nan"), "parameters": 12, "macs": 3.0, "images_per_second": 4.0,
}  # fmt: skip


def summed(*rows, is_study=False):
    return summary_of(pd.DataFrame(rows), RUN, 0, is_study=is_study)["rows"]


@pytest.mark.parametrize(
    ("row", "is_study", "missing"),
    [
        (ROW, False, {"domain", "joint_accuracy"}),
        (ROW | {"domain": "digits"}, False, set()),
        (ROW | {"round": 7, "domain": "digits"}, True, {"domain", "joint_accuracy", "macs"}),
    ],
)
def test_a_summary_has_the_measures_of_its_run(row, is_study, missing):
    (found,) = summed(row, is_study=is_study)
    assert ROW.keys() - found.keys() == missing
    assert (found["round"], found["ece"]) == (0, None)
    json.dumps(found, allow_nan=False)


def test_every_score_is_a_measure():
    assert set(SCORES) <= {measure.column.name for measure in columns.MEASURES}


def test_one_line_declares_a_measure_everywhere(monkeypatch):
    margin = Measure(Column("margin", "margin %", "percent"), "higher", in_mlflow=True)
    monkeypatch.setattr(columns, "MEASURES", (*columns.MEASURES, margin))
    with_it, without = summed(ROW | {"margin": 0.25}), summed({"model": "cnn", "stage": "arm"}, is_study=True)
    assert (with_it[0]["margin"], without[0]["margin"]) == (0.25, None)
    assert tracked(with_it[0]) == {"accuracy": 0.5, "nll": 0.7, "margin": 0.25}
    assert tracked(without[0]) == {}
    assert list(summary_table(with_it).columns[-1].cells) == ["25.0"]
    assert list(summary_table(without).columns[-1].cells) == ["–"]
    assert columns.measures_of()[-1].page_column.heading == "margin % ↑"
