"""Tables and pages that studies share: scores, learning curves, comparisons of arms, the summary, the report.

A role is what a model is in its study: a NamedTuple of one type for all models, whose fields become columns. The nodes
take the roles by the name of the model. Common fields are `learner` (which network), `arm` (how it learns), `seed`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import pandas as pd

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.evaluation.metrics import SCORES, score
from knowledge_transfer.reporting.columns import summary_of
from knowledge_transfer.reporting.page import Column, Section, Table, write_page
from knowledge_transfer.reporting.statistics import over_seeds, paired

Roles = Mapping[str, Any]
_NOT_OF_THE_ARM = ("model", "images", *SCORES, "set", "seed", "learner", "arm")


class Page(NamedTuple):
    """The content of a study's page: its title, its main findings, its sections."""

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]


def key_of(model: str) -> str:
    """Return the key of a model in soft labels; those of studies have no rounds."""
    return f"{model}@0"


def scores(models: Sequence[str], predictions: SoftLabels, images: ImageSet) -> pd.DataFrame:
    """Return the score of each of the models on the images, a row a model: accuracy, NLL (nats), ECE."""
    rows = []
    for model, logits in zip(models, predictions.only([key_of(model) for model in models]).logits, strict=True):
        result = score(logits[:, 0].float().softmax(dim=1), images.labels)
        rows.append({"model": model, "images": len(images), **asdict(result)})
    return pd.DataFrame(rows, columns=["model", "images", *SCORES])


def with_roles(table: pd.DataFrame, roles: Roles) -> pd.DataFrame:
    """Return the table with the fields of each model's role as columns."""
    return table.join(pd.DataFrame([roles[model] for model in table["model"]], index=table.index))


def score_models(roles: Roles, parts: Sequence[str], **given: Any) -> pd.DataFrame:
    """Return accuracy, NLL, ECE and parameters of every model on each part of the data, with its role.

    `given` are `<part>_predictions` and `<part>_images` of every part, and the models by name.
    """
    tables = [
        scores(list(roles), given[f"{part}_predictions"], given[f"{part}_images"]).assign(set=part) for part in parts
    ]
    table = pd.concat(tables, ignore_index=True)
    table["parameters"] = [given[model].facts.parameters for model in table["model"]]
    return with_roles(table, roles)


def collect_curves(roles: Roles, **models: Checkpoint | list[Checkpoint]) -> pd.DataFrame:
    """Return every learning curve with the role of its model, a row an epoch; those of groups by their members."""
    members = [each for model in models.values() for each in (model if isinstance(model, list) else [model])]
    curves = [pd.DataFrame(each.curve).assign(**roles[each.facts.name]._asdict()) for each in members]
    return pd.concat(curves, ignore_index=True)


def compare_arms(references: Mapping[str, str], /, **scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each learner and arm of each data set: means over seeds, and the difference to `against`.

    `references` maps an arm to the one that it is compared with, by test accuracy, paired by seed.
    """
    rows: list[dict[str, Any]] = []
    for name, table in scores.items():
        for learner, own in table.groupby("learner", sort=False):
            test = own[own["set"] == "test"].set_index(["arm", "seed"])["accuracy"].sort_index()
            for arm, group in own.groupby("arm", sort=False):
                row = {"data": name, "learner": learner, "arm": arm, **_means(group)}
                if against := references.get(str(arm)):
                    row |= {"against": against, **paired(test[arm], test[against])}
                rows.append(row)
    return pd.DataFrame(rows)


def _means(group: pd.DataFrame) -> dict[str, Any]:
    means = over_seeds(group, ["set"], ["accuracy", "nll"]).set_index("set")
    found = group.iloc[0].drop(list(_NOT_OF_THE_ARM), errors="ignore").to_dict()
    for part in means.index:
        found |= {part: means.loc[part, "accuracy"], f"{part}_error": means.loc[part, "accuracy_error"]}
    return {**found, "nll": means.loc["test", "nll"], "seeds": means.loc["test", "seeds"]}


def gather_rows(**scores: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of every model on the test set, a row a model; its stage is the data set and its learner."""
    tables = []
    for name, table in scores.items():
        test = table[table["set"] == "test"]
        tables.append(test.assign(stage=[f"{name}_{learner}" for learner in test["learner"]]))
    return pd.concat(tables, ignore_index=True)


def summarise(rows: pd.DataFrame, run_info: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the summary of a study for MLflow, the console and other programs, in strict JSON."""
    return summary_of(rows, run_info, seed, is_study=True)


def write_report(
    compose: Callable[..., Page],
    kinds: Mapping[str, Sequence[str]],
    run_info: dict[str, Any],
    parameters: dict[str, Any],
    **given: Any,
) -> str:
    """Return the study's page as HTML, from what `compose` makes of the tables.

    `kinds` names the tables of each data set; `given` has them as `<data set>_<kind>`, and its `<data set>_data`.
    """
    sources = {name: given.pop(f"{name}_data") for name in kinds}
    sets = {name: {kind: given.pop(f"{name}_{kind}") for kind in own} for name, own in kinds.items()}
    return write_page(*compose(sets=sets, **given), sources=sources, run_info=run_info, parameters=parameters)


ACCURACIES = (
    Column("validation", "validation %", "percent", "validation_error"),
    Column("test", "test %", "percent", "test_error"),
)


def plain_columns(*names: str) -> tuple[Column, ...]:
    """Return text columns whose headings are their names."""
    return tuple(Column(name, name) for name in names)


def difference_columns(heading: str) -> tuple[Column, ...]:
    """Return the columns of a paired difference, in points: mean and error, p, verdict."""
    difference = Column("difference", heading, "points", "standard_error")
    return difference, Column("p_value", "p", "p"), Column("verdict", "verdict")


def table_of(frame: pd.DataFrame, columns: Sequence[Column], note: str = "") -> Table:
    """Return the table of a page, columns that the frame lacks left empty: a study of one arm compares nothing."""
    names = dict.fromkeys(name for column in columns for name in (column.name, column.error) if name)
    return Table(frame.reindex(columns=list(names)), columns, note)
