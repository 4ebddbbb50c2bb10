"""Means over seeds, their errors, and verdicts, with numbers worked by hand."""

import math

import pandas as pd
import pytest

from knowledge_transfer.reporting.statistics import over_seeds, paired


def test_the_standard_error_is_that_of_the_mean():
    table = pd.DataFrame({"arm": ["a", "a", "a", "b"], "accuracy": [0.80, 0.82, 0.84, 0.5]})
    found = over_seeds(table, ["arm"], ["accuracy"]).set_index("arm")
    assert found.loc["a", "accuracy"] == pytest.approx(0.82)
    # The sample's deviation is 0.02, of three.
    assert found.loc["a", "accuracy_error"] == pytest.approx(0.02 / math.sqrt(3))
    assert found["seeds"].tolist() == [3, 1]
    assert math.isnan(found.loc["b", "accuracy_error"]), "one seed has no error"


def test_groups_of_several_keys_keep_their_order():
    table = pd.DataFrame({"data": ["z", "a", "z"], "arm": [1, 1, 2], "accuracy": [0.1, 0.2, 0.3]})
    found = over_seeds(table, ["data", "arm"], ["accuracy"])
    assert found[["data", "arm"]].to_numpy().tolist() == [["z", 1], ["a", 1], ["z", 2]]


def series(*values: float) -> pd.Series:
    return pd.Series(values, index=range(len(values)))


def test_a_paired_difference_by_hand():
    # Differences .01, .02, .03: mean .02, error .01/√3, t = 3.464 with two degrees of freedom, p = .0742.
    found = paired(series(0.81, 0.72, 0.93), series(0.80, 0.70, 0.90))
    assert found["difference"] == pytest.approx(0.02)
    assert found["standard_error"] == pytest.approx(0.01 / math.sqrt(3))
    assert found["p_value"] == pytest.approx(0.0742, abs=1e-4)
    assert found["verdict"] == "not beyond chance"


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([0.80, 0.81, 0.82, 0.83], [0.70, 0.72, 0.71, 0.74], "gain"),
        ([0.70, 0.72, 0.71, 0.74], [0.80, 0.81, 0.82, 0.83], "loss"),
        ([0.80, 0.70], [0.79, 0.71], "none"),
        ([0.80], [0.70], "one seed"),
        ([0.80, 0.90], [0.80, 0.90], "none"),
        ([0.9817, 0.9801, 0.9833], [0.9814, 0.9798, 0.983], "not beyond chance"),  # equal but for rounding
        ([0.5, 0.75], [0.25, 0.5], "not beyond chance"),  # by exactly as much in every seed: no spread to judge by
    ],
)
def test_verdicts(ours, theirs, verdict):
    assert paired(series(*ours), series(*theirs))["verdict"] == verdict


def test_seeds_are_paired_by_number_not_place():
    ours, theirs = pd.Series({0: 0.5, 1: 0.75}), pd.Series({1: 0.5, 0: 0.25})
    assert paired(ours, theirs)["standard_error"] == 0
    assert paired(ours, pd.Series({1: 0.5, 7: 0.1}))["verdict"] == "one seed"
