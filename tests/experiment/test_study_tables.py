"""Scores and comparisons of arms, with numbers worked by hand."""

import math

import pandas as pd
import pytest
import torch

from knowledge_transfer.experiment.study_tables import compare_arms, scores
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.distillation.soft_labels import LabellingFacts, SoftLabels
from tests.conftest import stripes


def predictions(*of_members: list[list[float]]) -> SoftLabels:
    logits = torch.tensor(of_members).unsqueeze(2).half()
    facts = LabellingFacts(
        teachers={f"model{number}@0": "0" for number in range(len(of_members))},
        images_sha256="0",
        class_names=tuple("abc"[: logits.shape[-1]]),
        views=1,
        view_seed=0,
        augmentation=Augmentation(),
    )
    return SoftLabels(logits, facts)


def test_scores_of_each_model():
    images = stripes(4, classes=2)  # labels 0 1 0 1
    sure = [[9.0, -9.0], [-9.0, 9.0]] * 2
    table = scores(["model0", "model1"], predictions(sure, [[0.0, 0.0]] * 4), images).set_index("model")
    assert table.loc["model0", "accuracy"] == 1
    assert table.loc["model0", "nll"] == pytest.approx(0, abs=1e-6)
    assert table.loc["model1", "nll"] == pytest.approx(math.log(2))
    assert table["images"].tolist() == [4, 4]


def test_arms_are_compared_within_their_learner():
    rows = [
        {"model": f"{learner}_{arm}{seed}", "learner": learner, "arm": arm, "seed": seed, "set": "test", "images": 4}
        | {"accuracy": accuracy + 0.01 * seed, "nll": 0.5, "ece": 0.1, "parameters": 7}
        for learner, arm, accuracy in (("small", "with", 0.6), ("large", "with", 0.9), ("small", "without", 0.5))
        for seed in (0, 1)
    ]
    found = compare_arms({"with": "without"}, digits=pd.DataFrame([*rows[:2], *rows[4:]]))
    assert found[["data", "learner", "arm", "against"]].values.tolist()[0] == ["digits", "small", "with", "without"]
    assert found["difference"].iloc[0] == pytest.approx(0.1)
    assert found["parameters"].tolist() == [7, 7]
    with pytest.raises(KeyError, match="without"):
        compare_arms({"with": "without"}, digits=pd.DataFrame(rows))
