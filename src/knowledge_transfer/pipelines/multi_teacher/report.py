"""The page of the study of many teachers."""

from __future__ import annotations

from typing import Any

import pandas as pd

from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.pipelines.multi_teacher import words
from knowledge_transfer.pipelines.multi_teacher.compression import ENSEMBLE
from knowledge_transfer.pipelines.multi_teacher.figures import draw_methods, draw_rules, draw_sweep
from knowledge_transfer.pipelines.multi_teacher.settings import MAIN
from knowledge_transfer.pipelines.multi_teacher.tables import TEACHER
from knowledge_transfer.reporting.page import Column, Drawn, Section, Table, write_page

_SAME_GRADIENT = ("kl", "soft_cross_entropy")
_TEST = Column("accuracy", "test %", "percent", "accuracy_error")
_METHODS = [
    Column("data", "data"),
    Column("method", "learns by"),
    Column("members", "teachers", "count"),
    _TEST,
    Column("beyond_labels", "beyond labels", "points", "beyond_labels_error"),
    Column("beyond_labels_verdict", ""),
    Column("beyond_output_avg", "beyond output_avg", "points", "beyond_output_avg_error"),
    Column("published", "published %", "percent", "published_error"),
    Column("nll", "NLL", "number"),
    Column("seeds", "models", "count"),
]
_SWEPT = [
    *_METHODS[:3],
    Column("alpha", "alpha", "short"),
    Column("fraction", "seen", "short"),
    *(column for column in _METHODS[3:] if not column.name.startswith("beyond_output_avg")),
]
_RULES = [
    Column("data", "data"),
    Column("members", "teachers", "count"),
    Column("rule", "rule"),
    _TEST,
    Column("difference", "beyond plurality", "points", "standard_error"),
    Column("p_value", "p", "p"),
    Column("verdict", "verdict"),
    Column("nll", "NLL", "number"),
    Column("tied", "ties %", "percent"),
]
_COSTS = [
    Column("data", "data"),
    Column("members", "teachers", "count"),
    Column("what", "what answers"),
    Column("parameters", "parameters", "count"),
    Column("macs", "multiply-adds", "count"),
    Column("milliseconds", "ms an image", "number"),
    Column("saved", "times fewer", "number"),
    _TEST,
]


def write_report(
    methods: pd.DataFrame,
    rules: pd.DataFrame,
    compression: pd.DataFrame,
    run_info: dict[str, Any],
    parameters: dict[str, Any],
    **of_sets: Any,
) -> str:
    """Return the study's page; `of_sets` are `<name>_data` and `<name>_votes` of every data set."""
    names = list(dict.fromkeys(methods["data"]))
    return write_page(
        "What one network learns from many teachers",
        [sentence for name in names for sentence in words.lead(name, methods, rules, compression)],
        [
            _learners(names, methods, rules),
            *_one_method(methods, parameters["distillation"]),
            *_sweeps(names, methods),
            Section(
                "Votes",
                text=[words.plurality(name, rules) for name in names],
                figures=[
                    Drawn(f"rules_{name}", draw_rules(rules[rules["data"] == name]), f"{name}: {words.RULES}")
                    for name in names
                ],
                tables=[Table(rules, _RULES, words.VOTES)],
            ),
            Section("Compression", text=words.COMPRESSION, tables=[Table(compression, _COSTS, words.COSTS)]),
            Section("The published study", text=words.source(methods)),
        ],
        sources={name: of_sets[f"{name}_data"] for name in names},
        run_info=run_info,
        parameters=parameters,
    )


def _one_method(methods: pd.DataFrame, distillation: DistillationConfig | dict[str, Any]) -> list[Section]:
    """Return what makes output_avg and loss_avg one method, where the loss is one of which that is true."""
    loss = distillation.loss if isinstance(distillation, DistillationConfig) else distillation["loss"]
    if loss not in _SAME_GRADIENT:
        return []
    return [Section("One method under two names", text=words.same_gradient(methods))]


def _learners(names: list[str], methods: pd.DataFrame, rules: pd.DataFrame) -> Section:
    fused = rules[rules["rule"] == "mean_probabilities"]
    figures = [
        Drawn(
            f"methods_{name}",
            draw_methods(methods[methods["data"] == name], fused[fused["data"] == name]),
            f"{name}: means over seeds, bars are one standard error. {ENSEMBLE.capitalize()}: mean of probabilities.",
        )
        for name in names
    ]
    main = methods[(methods["sweep"] == MAIN) & (methods["fraction"] == 1)]
    return Section("Learners of many teachers", figures=figures, tables=[_table(main, _METHODS, words.METHODS)])


def _sweeps(names: list[str], methods: pd.DataFrame) -> list[Section]:
    found = [each for each in ("alpha", "fraction") if each in set(methods["sweep"])]
    if not found:
        return []
    figures = [
        Drawn(
            f"{sweep}_{name}",
            draw_sweep(methods[methods["data"] == name], sweep),
            f"{name}: {words.SWEEPS[sweep]}",
            True,
        )
        for name in names
        for sweep in found
    ]
    rows = methods[(methods["sweep"] != MAIN) | ((methods["method"] == TEACHER) & (methods["fraction"] < 1))]
    return [
        Section(
            "Alpha, and how much each teacher has seen", figures=figures, tables=[_table(rows, _SWEPT, words.SWEPT)]
        )
    ]


def _table(rows: pd.DataFrame, columns: list[Column], note: str) -> Table:
    """Return the table of these arms, without the columns in which there is nothing."""
    rows = rows.assign(alpha=rows["alpha"].where(rows["method"] != TEACHER))
    here = [column for column in columns if column.name in rows and rows[column.name].notna().any()]
    return Table(rows, here, note)
