"""A collapsed model is told from one that has learned something."""

import pytest
import torch

from knowledge_transfer.learning.evaluation.collapse import chance, collapse

LABELS = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)


def test_chance_is_the_share_of_the_most_frequent_class():
    assert chance(LABELS) == 0.5


@pytest.mark.parametrize("answer", [0, 1, 2])
def test_one_class_for_every_image(answer):
    found = collapse(torch.full_like(LABELS, answer), LABELS)
    assert found.startswith("answers one class for every image")
    assert "chance 50.0 %" in found


@pytest.mark.parametrize(("right", "is_collapsed"), [(58, True), (59, False), (100, False)])
def test_better_than_chance_by_more_than_its_error(right, is_collapsed):
    # 1.645 standard errors of a share of a half among 100 images are 8.2 images.
    predicted = torch.where(torch.arange(100) < right, LABELS, (LABELS + 1) % 3)
    assert collapse(predicted, LABELS).startswith("no better than chance") == is_collapsed


def test_a_single_class_cannot_be_missed():
    assert collapse(torch.zeros(5, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)) == ""
