"""Nodes that say what an ensemble costs, and the one network that learned from it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import pandas as pd

from knowledge_transfer.pipelines.multi_teacher.settings import MAIN, ONE_TEACHER
from knowledge_transfer.pipelines.multi_teacher.tables import TEACHER

ENSEMBLE = "ensemble"


def compress(
    learners: Sequence[str], methods: pd.DataFrame, rules: pd.DataFrame, **costs: pd.DataFrame
) -> pd.DataFrame:
    """Return what ensembles of each size cost and give, beside each of the `learners`, networks that learned from them.

    `costs` by data set. Latency is in milliseconds an image, in batches; members answer one after another.
    """
    rows = []
    for name, table in costs.items():
        measured = table.set_index("role")
        ensembles = rules[(rules["data"] == name) & (rules["rule"] == "mean_probabilities")].set_index("members")
        arms = methods[(methods["data"] == name) & (methods["sweep"] == MAIN)].set_index(["method", "members"])
        for members in ensembles.index:
            whole = _cost(measured.loc[TEACHER], members)
            rows.append(
                {
                    "data": name,
                    "members": members,
                    "what": ENSEMBLE,
                    "saved": math.nan,
                    **whole,
                    **_right(ensembles.loc[members]),
                }
            )
            for method in learners:
                cost = _cost(measured.loc[role_of(method, members, measured.index)], 1)
                saved = {"saved": whole["macs"] / cost["macs"]}
                row = {"data": name, "members": members, "what": method, **cost, **saved}
                rows.append({**row, **_right(arms.loc[(method, members)])})
    return pd.DataFrame(rows)


def role_of(method: str, members: int, roles: Collection[str]) -> str:
    """Return under which role the costs of a model were measured: networks of one architecture cost the same."""
    own = f"{method}_k{members}"
    return own if own in roles else TEACHER if method == TEACHER else ONE_TEACHER


def _cost(measured: pd.Series, times: int) -> dict[str, float]:
    return {
        "parameters": times * measured["parameters"],
        "macs": times * measured["macs"],
        "milliseconds": times * 1000 / measured["images_per_second"],
    }


def _right(means: pd.Series) -> dict[str, float]:
    return {each: means[each] for each in ("accuracy", "accuracy_error")}


def gather_rows(**tables: pd.DataFrame) -> pd.DataFrame:
    """Return what is told of every model to programs; `tables` are `<data>_scores` and `<data>_costs`."""
    found = []
    for name in [each.removesuffix("_scores") for each in tables if each.endswith("_scores")]:
        table, costs = tables[f"{name}_scores"], tables[f"{name}_costs"].set_index("role")
        models = zip(table["method"], table["members"], strict=True)
        roles = [role_of(method, members, costs.index) for method, members in models]
        measured = costs.loc[roles, ["parameters", "images_per_second"]].reset_index(drop=True)
        stages = [f"{name}_{TEACHER if method == TEACHER else 'learner'}" for method in table["method"]]
        found.append(pd.concat([table.assign(stage=stages), measured], axis=1))
    return pd.concat(found, ignore_index=True)
