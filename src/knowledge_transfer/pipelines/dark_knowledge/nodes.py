"""Nodes of the study dark_knowledge: comparison epoch by epoch, diagnosis of failure modes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.evaluation.metrics import score
from knowledge_transfer.learning.evaluation.predict import dead_relu_fraction, predict
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.pipelines.dark_knowledge.settings import ALONE, FAILURE_MODE, LEARNERS, TAUGHT, Role
from knowledge_transfer.reporting.page import flat
from knowledge_transfer.reporting.statistics import over_seeds, paired

_CHANCE_ERRORS = 3  # standard errors of chance within which an accuracy is called chance
_DIAGNOSED = ("accuracy", "nll", "silent", "spread", "same_answer")


def diagnose(roles: Mapping[str, Role], images: ImageSet, device: str, **models: Checkpoint) -> pd.DataFrame:
    """Return a row a model: its scores on the images, and signs of why it may not have learned.

    `silent` is the share of dead units in the worst layer, `spread` the standard deviation of a class's probability
    over images, `same_answer` the share of the commonest prediction, `chance` the accuracy of guessing. `differs` lists
    the settings in which the smaller CNN differs.
    """
    on = resolve_device(device)
    reference = next(models[name] for name, role in roles.items() if role.learner == LEARNERS[-1])
    chance = 1 / len(images.class_names)
    rows = []
    for name, checkpoint in models.items():
        network = checkpoint.build()
        probabilities = predict(network, images, device=on).softmax(1)
        result = score(probabilities, images.labels)
        rows.append(
            {
                "model": name,
                **roles[name]._asdict(),
                "accuracy": result.accuracy,
                "nll": result.nll,
                "silent": dead_relu_fraction(network, images, device=on),
                "spread": float(probabilities.std(0).mean()),
                "same_answer": float(torch.bincount(probabilities.argmax(1)).max()) / len(images),
                "chance": chance,
                "chance_error": math.sqrt(chance * (1 - chance) / len(images)),
                "classes": len(images.class_names),
                "parameters": checkpoint.facts.parameters,
                "differs": differences(checkpoint, reference),
            }
        )
    return pd.DataFrame(rows)


def differences(one: Checkpoint, other: Checkpoint) -> str:
    """Return the settings of `one` that `other` has otherwise, as text: `learning_rate 0.5, schedule constant`."""
    ours, theirs = (
        dict(flat({"architecture": each.facts.architecture, "recipe": each.facts.recipe})) for each in (one, other)
    )
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in ours.items() if theirs.get(name) != value)


def compare_epochs(**curves: pd.DataFrame) -> pd.DataFrame:
    """Return validation accuracy of each learner by epoch: means over seeds by arm, the difference paired by seed."""
    rows = []
    for name, table in curves.items():
        ours = table[table["learner"].isin(LEARNERS)]
        for (learner, epoch), group in ours.groupby(["learner", "epoch"]):
            by_arm = over_seeds(group, ["arm"], ["validation_accuracy"]).set_index("arm")
            row: dict[str, Any] = {"data": name, "learner": learner, "epoch": epoch}
            for arm in (TAUGHT, ALONE):
                row[arm] = by_arm.loc[arm, "validation_accuracy"]
                row[f"{arm}_error"] = by_arm.loc[arm, "validation_accuracy_error"]
            by_seed = group.set_index(["arm", "seed"])["validation_accuracy"].sort_index()
            rows.append(row | paired(by_seed[TAUGHT], by_seed[ALONE]))
    return pd.DataFrame(rows)


def compare_failure_modes(**diagnoses: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each failure mode, the learners first: means over seeds, and the finding."""
    rows = []
    for name, table in diagnoses.items():
        reference = table.loc[table["learner"] == LEARNERS[-1], "accuracy"].mean()
        for learner, group in table.groupby("learner", sort=False):
            row: dict[str, Any] = {"data": name, "learner": learner, "arm": group["arm"].iloc[0]}
            row |= over_seeds(group, ["learner"], _DIAGNOSED).iloc[0].drop("learner").to_dict()
            row |= group[["chance", "chance_error", "classes", "parameters", "differs"]].iloc[0].to_dict()
            diagnosed = group.to_dict("records")
            rows.append({**row, "at_chance": len(_stuck(diagnosed)), "finding": finding(diagnosed, reference)})
    table = pd.DataFrame(rows)
    return table.sort_values("arm", key=lambda arm: arm == FAILURE_MODE, kind="stable")


def finding(diagnosed: Sequence[Mapping[Any, Any]], reference: float) -> str:
    """Return the finding from the diagnoses of one network, a seed each; `reference` is an accuracy in its reach."""
    stuck = _stuck(diagnosed)
    if not stuck:
        worst = min(row["accuracy"] for row in diagnosed)
        return "learns" if worst >= (diagnosed[0]["chance"] + reference) / 2 else "learns, but badly"
    dead = sum(row["silent"] == 1 for row in stuck)
    why = "dead" if dead == len(stuck) else "alive" if not dead else f"dead in {dead}"
    return f"at chance in {len(stuck)} of {len(diagnosed)}: {why}"


def _stuck(diagnosed: Sequence[Mapping[Any, Any]]) -> list[Mapping[Any, Any]]:
    return [row for row in diagnosed if row["accuracy"] <= row["chance"] + _CHANCE_ERRORS * row["chance_error"]]
