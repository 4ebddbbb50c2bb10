import pytest

from knowledge_transfer.learning.training.optimizer import rate_factor


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_rate_rises_to_its_peak_and_never_leaves_its_range(schedule):
    factors = [rate_factor(step, 100, schedule, 0.2) for step in range(100)]
    assert max(factors) == 1.0
    assert factors[:20] == sorted(factors[:20])
    assert all(0 < factor <= 1 for factor in factors)


def test_worked_values():
    assert rate_factor(20, 100, "linear", 0.2) == 1
    assert rate_factor(60, 100, "linear", 0.2) == pytest.approx(0.5)
    assert rate_factor(60, 100, "cosine", 0.2) == pytest.approx(0.5)
    assert rate_factor(40, 100, "cosine", 0.2) == pytest.approx(0.853553, abs=1e-6)
    assert rate_factor(99, 100, "constant", 0.2) == 1
    assert rate_factor(0, 100, "constant", 0) == 1
