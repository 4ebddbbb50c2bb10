"""The page of the study multi_teacher."""

from collections.abc import Mapping

import pandas as pd

from knowledge_transfer.experiment.study_tables import Page, difference_columns
from knowledge_transfer.pipelines.multi_teacher import summary_text as text
from knowledge_transfer.pipelines.multi_teacher.figures import draw_methods, draw_rules, draw_sweep
from knowledge_transfer.pipelines.multi_teacher.settings import ENSEMBLE, MAIN, TEACHER
from knowledge_transfer.reporting.page import Column, Drawn, Section, Table

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
    _METHODS[0],
    _METHODS[2],
    Column("rule", "rule"),
    _TEST,
    *difference_columns("beyond plurality"),
    Column("nll", "NLL", "number"),
    Column("tied", "ties %", "percent"),
]
_COSTS = [
    _METHODS[0],
    _METHODS[2],
    Column("what", "what predicts"),
    Column("parameters", "parameters", "count"),
    Column("macs", "multiply-adds", "count"),
    Column("milliseconds", "ms an image", "number"),
    Column("saved", "times fewer", "number"),
    _TEST,
]


def compose_page(
    loss: str,
    methods: pd.DataFrame,
    rules: pd.DataFrame,
    compression: pd.DataFrame,
    sets: Mapping[str, Mapping[str, pd.DataFrame]],
) -> Page:
    """Return the study's page. `loss` is the soft loss; of the `sets` it takes the names alone."""
    names = list(sets)
    # Of these losses it is true that output_avg and loss_avg are one method.
    one_method = [Section("One method under two names", text=text.same_gradient(methods))]
    ruled = [Drawn(f"rules_{name}", draw_rules(_of(name, rules)), f"{name}: {text.RULES}") for name in names]
    return Page(
        "What one network learns from many teachers",
        [sentence for name in names for sentence in text.lead(name, methods, rules, compression)],
        [
            _learners(names, methods, rules),
            *(one_method if loss in _SAME_GRADIENT else []),
            *_sweeps(names, methods),
            Section(
                "Votes",
                text=[text.plurality(name, rules) for name in names],
                figures=ruled,
                tables=[Table(rules, _RULES, text.VOTES)],
            ),
            Section("Compression", text=text.COMPRESSION, tables=[Table(compression, _COSTS, text.COSTS)]),
            Section("The published study", text=text.source(methods)),
        ],
    )


def _learners(names: list[str], methods: pd.DataFrame, rules: pd.DataFrame) -> Section:
    fused = rules[rules["rule"] == "mean_probabilities"]
    figures = [
        Drawn(
            f"methods_{name}",
            draw_methods(_of(name, methods), _of(name, fused)),
            f"{name}: means over seeds, bars are one standard error. {ENSEMBLE.capitalize()}: mean of probabilities.",
        )
        for name in names
    ]
    main = methods[(methods["sweep"] == MAIN) & (methods["fraction"] == 1)]
    return Section("Learners of many teachers", figures=figures, tables=[_table(main, _METHODS, text.METHODS)])


def _sweeps(names: list[str], methods: pd.DataFrame) -> list[Section]:
    found = [each for each in ("alpha", "fraction") if each in set(methods["sweep"])]
    if not found:
        return []
    figures = [
        Drawn(f"{sweep}_{name}", draw_sweep(_of(name, methods), sweep), f"{name}: {text.SWEEPS[sweep]}", True)
        for name in names
        for sweep in found
    ]
    rows = methods[(methods["sweep"] != MAIN) | ((methods["method"] == TEACHER) & (methods["fraction"] < 1))]
    return [
        Section("Alpha, and how much each teacher has seen", figures=figures, tables=[_table(rows, _SWEPT, text.SWEPT)])
    ]


def _of(name: str, table: pd.DataFrame) -> pd.DataFrame:
    return table[table["data"] == name]


def _table(rows: pd.DataFrame, columns: list[Column], note: str) -> Table:
    """Return the table of these arms, without empty columns."""
    rows = rows.assign(alpha=rows["alpha"].where(rows["method"] != TEACHER))
    here = [column for column in columns if column.name in rows and rows[column.name].notna().any()]
    return Table(rows, here, note)
