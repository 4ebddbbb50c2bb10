"""Metrics: worked numbers, and the inputs that would give a wrong number without a word."""

import math

import pytest
import torch
from torch import Tensor

from knowledge_transfer.learning.evaluation import metrics


def right(n: int, *, both: int = 0, only_a: int = 0, only_b: int = 0) -> tuple[Tensor, Tensor]:
    """Which of `n` images each of two models got right."""
    a, b = torch.zeros(2, n, dtype=torch.bool)
    a[: both + only_a] = True
    b[:both] = True
    b[both + only_a : both + only_a + only_b] = True
    return a, b


def test_score_worked_numbers() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.1, 0.9]])
    result = metrics.score(probabilities, torch.tensor([0, 1, 1, 1]))
    assert result.accuracy == 0.75
    assert result.nll == pytest.approx(-math.log(0.9 * 0.1 * 0.7 * 0.9) / 4, rel=1e-6)
    # Three predictions of confidence .9 are right twice, one of .7 is right.
    assert result.ece == pytest.approx(0.75 * (0.9 - 2 / 3) + 0.25 * (1 - 0.7), rel=1e-5)


def test_score_of_votes() -> None:
    result = metrics.score(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    assert (result.accuracy, result.ece) == (0.5, 0.5)
    assert math.isfinite(result.nll)
    assert result.nll > 40


def test_score_has_fifteen_bins() -> None:
    # Of fifteen bins 0.62 and 0.65 share one and 0.68 is in the next; of ten all three share one, of twenty no two.
    probabilities = torch.tensor([[0.62, 0.38], [0.65, 0.35], [0.68, 0.32]])
    result = metrics.score(probabilities, torch.tensor([0, 1, 0]))
    assert result.ece == pytest.approx(2 / 3 * (0.635 - 0.5) + 1 / 3 * (1 - 0.68), rel=1e-5)


def test_score_takes_rounding_above_one_for_certainty() -> None:
    probabilities = torch.tensor([[1.0000001, 0.0], [0.8, 0.2]])
    result = metrics.score(probabilities, torch.tensor([0, 0]))
    assert result.nll == pytest.approx(-math.log(0.8) / 2, rel=1e-5)
    assert result.ece == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (torch.tensor([[2.0, 1.0]]), torch.tensor([0]), "sum to 1"),
        (torch.tensor([[1.5, -0.5]]), torch.tensor([0]), "negative"),
        (torch.tensor([[math.nan, 1.0]]), torch.tensor([0]), "sum to 1"),
        (torch.tensor([[0.5, 0.5]]), torch.tensor([0, 1]), r"\[1, 2\] and \[2\]"),
        (torch.tensor([0.5, 0.5]), torch.tensor([0, 1]), r"\[2\] and \[2\]"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), r"\[0, 2\] and \[0\]"),
    ],
)
def test_score_refuses_what_is_no_distribution(probabilities: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.score(probabilities, labels)


def test_confusion_has_the_truth_in_rows() -> None:
    table = metrics.confusion(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 0]), 4)
    assert table.dtype == torch.int64
    assert table.tolist() == [[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(("predicted", "labels"), [([2], [0]), ([0], [2]), ([-1], [1]), ([0, 1], [0])])
def test_confusion_refuses_what_would_land_in_another_cell(predicted: list[int], labels: list[int]) -> None:
    with pytest.raises(ValueError, match="predictions"):
        metrics.confusion(torch.tensor(predicted), torch.tensor(labels), 2)


def test_agreement_worked_number() -> None:
    table = metrics.agreement(torch.tensor([[0, 1, 2, 3], [0, 1, 0, 0], [3, 1, 0, 1]]))
    torch.testing.assert_close(table, torch.tensor([[1, 0.5, 0.25], [0.5, 1, 0.5], [0.25, 0.5, 1]]))


def test_standard_error_of_one_run() -> None:
    assert metrics.standard_error(0.94, 10_000) == pytest.approx(0.0023749, rel=1e-4)
    assert metrics.standard_error(0.5, 4) == 0.25
    assert metrics.standard_error(1.0, 5) == 0


@pytest.mark.parametrize(("accuracy", "n"), [(94.0, 100), (-0.1, 100), (math.nan, 100), (0.5, 0)])
def test_standard_error_refuses_per_cent_and_no_images(accuracy: float, n: int) -> None:
    with pytest.raises(ValueError, match="accuracy must be"):
        metrics.standard_error(accuracy, n)


def test_mcnemar_worked_number() -> None:
    a, b = right(100, both=50, only_a=8, only_b=2)
    result = metrics.mcnemar(a, b)
    assert result.difference == pytest.approx(0.06)
    assert result.p_value == pytest.approx(2 * (1 + 10 + 45) / 1024)
    # The standard deviation of 8 ones, 2 minus ones and 90 zeros, over ten.
    assert result.standard_error == pytest.approx(torch.std(a.double() - b.double(), correction=0).item() / 10)
    swapped = metrics.mcnemar(b, a)
    assert (swapped.difference, swapped.p_value) == (-result.difference, result.p_value)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (7, 7), (4, 3)])
def test_mcnemar_of_an_even_split_is_one(only_a: int, only_b: int) -> None:
    assert metrics.mcnemar(*right(30, only_a=only_a, only_b=only_b)).p_value == pytest.approx(1)


@pytest.mark.parametrize(("only_a", "only_b"), [(900, 1000), (2000, 2010), (5000, 400)])
def test_mcnemar_stays_exact_for_many_images(only_a: int, only_b: int) -> None:
    n, fewer = only_a + only_b, min(only_a, only_b)
    term, tail = 1, 0
    for k in range(fewer + 1):
        tail += term
        term = term * (n - k) // (k + 1)
    p_value = metrics.mcnemar(*right(10_000, only_a=only_a, only_b=only_b)).p_value
    assert p_value == pytest.approx(2 * tail / 2**n, rel=1e-8)


def test_paired_bootstrap_is_the_interval_of_resampled_images() -> None:
    a, b = right(400, both=200, only_a=60, only_b=30)
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(400, (4000, 400), generator=generator)
    differences = (a[picks].double() - b[picks].double()).mean(1)
    expected = torch.quantile(differences, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    low, high = metrics.paired_bootstrap(a, b, samples=4000, seed=1)
    assert (low, high) == pytest.approx(expected, abs=0.006)
    assert low < 0.075 < high


def test_paired_bootstrap_follows_its_seed() -> None:
    pair = right(50, both=20, only_a=10, only_b=7)
    intervals = [metrics.paired_bootstrap(*pair, samples=200, seed=seed) for seed in (3, 3, 4)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_paired_bootstrap_without_doubt() -> None:
    assert metrics.paired_bootstrap(*right(9, both=4), samples=50, seed=0) == (0, 0)
    assert metrics.paired_bootstrap(*right(9, only_a=9), samples=50, seed=0) == (1, 1)
    assert metrics.paired_bootstrap(*right(9, only_b=9), samples=50, seed=0) == (-1, -1)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.ones(3, dtype=torch.bool), torch.ones(4, dtype=torch.bool)),
        (torch.ones(3, dtype=torch.bool), torch.ones(1, dtype=torch.bool)),
        (torch.ones(3, 1, dtype=torch.bool), torch.ones(3, 1, dtype=torch.bool)),
        (torch.ones(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64)),
        (torch.ones(0, dtype=torch.bool), torch.ones(0, dtype=torch.bool)),
    ],
)
def test_comparisons_refuse_other_images(a: Tensor, b: Tensor) -> None:
    with pytest.raises(ValueError, match="same images"):
        metrics.mcnemar(a, b)
    with pytest.raises(ValueError, match="same images"):
        metrics.paired_bootstrap(a, b, samples=10, seed=0)
