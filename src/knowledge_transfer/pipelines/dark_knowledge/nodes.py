"""Nodes of the study dark_knowledge: who scored what, epoch by epoch and in the end, and what ails a suspect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.evaluation.metrics import score
from knowledge_transfer.learning.evaluation.predict import dead_relu_fraction, predict
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.pipelines.dark_knowledge.settings import LEARNERS, SUSPECT, TEACHER, Fit
from knowledge_transfer.reporting.page import flat
from knowledge_transfer.reporting.statistics import over_seeds, paired, scores

_CHANCE_ERRORS = 3  # standard errors of chance within which an accuracy is called chance
_EXAMINED = ("accuracy", "nll", "silent", "spread", "same_answer")


def score_learners(
    fits: Mapping[str, Fit],
    validation_answers: SoftLabels,
    validation_images: ImageSet,
    test_answers: SoftLabels,
    test_images: ImageSet,
    **models: Checkpoint,
) -> pd.DataFrame:
    """Return accuracy, NLL and ECE of the teacher and every learner on either set, with what it is."""
    table = pd.concat(
        [
            scores(validation_answers, validation_images).assign(set="validation"),
            scores(test_answers, test_images).assign(set="test"),
        ],
        ignore_index=True,
    )
    parameters = {model.facts.name: model.facts.parameters for model in models.values()}
    table["parameters"] = table["model"].map(parameters)
    return _with_fits(table, fits)


def _with_fits(table: pd.DataFrame, fits: Mapping[str, Fit]) -> pd.DataFrame:
    return table.join(pd.DataFrame([fits[model] for model in table["model"]], columns=Fit._fields, index=table.index))


def collect_curves(fits: Mapping[str, Fit], **models: Checkpoint) -> pd.DataFrame:
    """Return every learning curve with what its model is, a row an epoch."""
    return pd.concat(
        [pd.DataFrame(model.curve).assign(**fits[name]._asdict()) for name, model in models.items()], ignore_index=True
    )


def examine(fits: Mapping[str, Fit], images: ImageSet, device: str, **models: Checkpoint) -> pd.DataFrame:
    """Return a row a model: how it does on the images, and signs of why it may not have learned.

    `silent` is the share of units that fire for none of the images in its most silent layer; `spread` the standard
    deviation over images of a class's probability, the mean over classes; `same_answer` the share of images that get
    the commonest answer. `chance` is the accuracy, with `chance_error`, of whoever guesses. `differs` is what its
    settings have other than those of the smaller CNN.
    """
    on = resolve_device(device)
    reference = next(models[name] for name, fit in fits.items() if fit.learner == LEARNERS[-1])
    chance = 1 / len(images.class_names)
    rows = []
    for name, checkpoint in models.items():
        network = checkpoint.build()
        said = predict(network, images, device=on).softmax(1)
        result = score(said, images.labels)
        rows.append(
            {
                "model": name,
                **fits[name]._asdict(),
                "accuracy": result.accuracy,
                "nll": result.nll,
                "silent": dead_relu_fraction(network, images, device=on),
                "spread": float(said.std(0).mean()),
                "same_answer": float(torch.bincount(said.argmax(1)).max()) / len(images),
                "chance": chance,
                "chance_error": math.sqrt(chance * (1 - chance) / len(images)),
                "classes": len(images.class_names),
                "parameters": checkpoint.facts.parameters,
                "differs": differences(checkpoint, reference),
            }
        )
    return pd.DataFrame(rows)


def differences(one: Checkpoint, other: Checkpoint) -> str:
    """Return the settings of `one` that those of `other` are not, as text: `learning_rate 0.5, schedule constant`."""
    ours, theirs = (
        dict(flat({"architecture": each.facts.architecture, "recipe": each.facts.recipe})) for each in (one, other)
    )
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in ours.items() if theirs.get(name) != value)


def compare_arms(**scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row for the teacher and each learner in each arm: accuracies, and what the soft loss changed.

    Means over seeds with their standard errors; differences are of accuracy on the test set, seed by seed.
    """
    rows = []
    for name, table in scores.items():
        test = table[table["set"] == "test"].set_index(["learner", "arm", "seed"])["accuracy"].sort_index()
        for (learner, arm), group in table.groupby(["learner", "arm"], sort=False):
            means = over_seeds(group, ["set"], ["accuracy", "nll"]).set_index("set")
            row: dict[str, Any] = {"data": name, "learner": learner, "arm": arm}
            for part in means.index:
                row |= {part: means.loc[part, "accuracy"], f"{part}_error": means.loc[part, "accuracy_error"]}
            row |= {"nll": means.loc["test", "nll"], "seeds": means.loc["test", "seeds"]}
            row["parameters"] = group["parameters"].iloc[0]
            rows.append(row | (paired(test[learner, "taught"], test[learner, "alone"]) if arm == "taught" else {}))
    order = {learner: position for position, learner in enumerate((TEACHER, *LEARNERS))}
    table = pd.DataFrame(rows)
    return table.sort_values(["data", "learner"], key=lambda each: each.map(order).fillna(0), kind="stable")


def compare_epochs(**curves: pd.DataFrame) -> pd.DataFrame:
    """Return a row an epoch of each learner: accuracy on validation in both arms, means over seeds, and the difference.

    `taught` and `alone` have their standard errors beside them, as has the difference, which is paired by seed.
    """
    rows = []
    for name, table in curves.items():
        ours = table[table["learner"].isin(LEARNERS)]
        for (learner, epoch), group in ours.groupby(["learner", "epoch"]):
            by_arm = over_seeds(group, ["arm"], ["validation_accuracy"]).set_index("arm")
            row: dict[str, Any] = {"data": name, "learner": learner, "epoch": epoch}
            for arm in ("taught", "alone"):
                row[arm] = by_arm.loc[arm, "validation_accuracy"]
                row[f"{arm}_error"] = by_arm.loc[arm, "validation_accuracy_error"]
            by_seed = group.set_index(["arm", "seed"])["validation_accuracy"].sort_index()
            rows.append(row | paired(by_seed["taught"], by_seed["alone"]))
    return pd.DataFrame(rows)


def compare_suspects(**examinations: pd.DataFrame) -> pd.DataFrame:
    """Return a row a suspect, the learners first: means over seeds of what was found, and what that says of it."""
    rows = []
    for name, table in examinations.items():
        reference = table.loc[table["learner"] == LEARNERS[-1], "accuracy"].mean()
        for learner, group in table.groupby("learner", sort=False):
            row: dict[str, Any] = {"data": name, "learner": learner, "arm": group["arm"].iloc[0]}
            row |= over_seeds(group, ["learner"], _EXAMINED).iloc[0].drop("learner").to_dict()
            row |= group[["chance", "chance_error", "classes", "parameters", "differs"]].iloc[0].to_dict()
            rows.append({**row, "finding": finding(group.to_dict("records"), reference)})
    table = pd.DataFrame(rows)
    return table.sort_values("arm", key=lambda arm: arm == SUSPECT, kind="stable")


def finding(examined: Sequence[Mapping[Any, Any]], reference: float) -> str:
    """Return in words what examinations of one network, a seed each, say of it; `reference` is what it could reach."""
    stuck = [row for row in examined if row["accuracy"] <= row["chance"] + _CHANCE_ERRORS * row["chance_error"]]
    if not stuck:
        worst = min(row["accuracy"] for row in examined)
        return "learns" if worst >= (examined[0]["chance"] + reference) / 2 else "learns, but badly"
    dead = sum(row["silent"] == 1 for row in stuck)
    why = "dead" if dead == len(stuck) else "alive" if not dead else f"dead in {dead}"
    return f"at chance in {len(stuck)} of {len(examined)}: {why}"


def gather_rows(**scores: pd.DataFrame) -> pd.DataFrame:
    """Return every model's accuracy, NLL and ECE on the test set, a row a model."""
    tables = []
    for name, table in scores.items():
        test = table[table["set"] == "test"]
        tables.append(test.assign(stage=[f"{name}_{learner}" for learner in test["learner"]]))
    return pd.concat(tables, ignore_index=True)
