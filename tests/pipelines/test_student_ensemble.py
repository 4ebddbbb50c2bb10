"""The study student_ensemble, once through Kedro on few images."""

import math
import sqlite3

import pandas as pd
import pytest

from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.pipelines.student_ensemble import figures
from knowledge_transfer.pipelines.student_ensemble.nodes import best_point, counted_as_published
from knowledge_transfer.pipelines.student_ensemble.settings import BEST_FIRST, SMALLEST_FIRST
from tests.studies import Study

_RECIPE = {"epochs": 1, "batch_size": 16, "learning_rate": 0.1, "precision": "fp32", "views": 1}
TINY = {
    "seeds": 2,
    "sets": {
        "digits": {
            "data": {"limit": 300, "test_limit": 80},
            "teacher": {
                "architecture": {"kind": "cnn", "layers": {"convolutions": [[4], [4]], "hidden": [16]}},
                "recipe": _RECIPE,
            },
            "student": {
                "architecture": {"kind": "cnn", "layers": {"convolutions": [[4], [4]], "hidden": [8]}},
                "recipe": _RECIPE,
            },
            "grid": {"widths": [1, 2], "kernels": [3], "hidden": [4], "members": 2, "recipe": _RECIPE},
            "sweep": {
                "shape": {"width": 1, "kernel": 3, "hidden": 4},
                "temperatures": [10],
                "alphas": [0, 0.25],
                "losses": ["soft_cross_entropy", "kl"],
            },
            "boosting": {"shape": {"width": 5, "kernel": 3, "hidden": 16}, "members": 2},
        }
    },
}


@pytest.fixture(scope="module")
def study(run_once):
    return Study(run_once, "student_ensemble", TINY, tracked=True)


def test_the_chosen_size_is_best_on_validation(study):
    sizes = study.load("digits_sizes_table")
    for (_, _, order), own in sizes.groupby(["arm", "seed", "order"]):
        assert list(own["members"]) == [1, 2, 3, 4]
        assert own["parameters"].is_monotonic_increasing
        if order == SMALLEST_FIRST:
            assert not own["is_chosen"].any()
        else:
            chosen = own[own["is_chosen"]]
            assert len(chosen) == 1
            assert chosen["validation"].iloc[0] == own["validation"].max()
            assert chosen["members"].iloc[0] == own.loc[own["validation"] == own["validation"].max(), "members"].min()


def test_every_rule_fuses_chosen_and_all(study):
    rules = study.load("digits_rules_table")
    taught = rules[rules["arm"] == "members"]
    for _, own in taught.groupby(["seed", "ensemble"]):
        assert set(own["rule"]) == {*FUSION_RULES, *VOTING_RULES}
    whole = taught[(taught["ensemble"] == "all") & (taught["rule"] == "mean_probabilities")].set_index("seed")
    sizes = study.load("digits_sizes_table")
    grown = sizes[(sizes["arm"] == "members") & (sizes["order"] == BEST_FIRST) & (sizes["members"] == 4)]
    assert whole["test"].to_dict() == pytest.approx(grown.set_index("seed")["test"].to_dict())


def test_every_trained_member_is_kept(study):
    members = study.load("digits_members_table").set_index("model")
    kept = study.load("digits_conv2_kernel3_linear4_checkpoints")
    assert [each.facts.name for each in kept] == [
        f"digits_conv2_kernel3_linear4_seed{seed}_member{number}" for seed in (0, 1) for number in (0, 1)
    ]
    for each in kept:
        row = members.loc[each.facts.name]
        assert row["sha256"] == each.sha256
        assert row["parameters"] == each.facts.parameters == sum(p.numel() for p in each.build().parameters())
        assert row["arm"] == "members"
        assert each.facts.parents.keys() == {"digits_teacher@0"}
    assert len({each.sha256 for each in kept}) == 4
    untaught = study.load("digits_labels_conv2_kernel3_linear4_checkpoints")
    assert all(not each.facts.parents and each.facts.distillation is None for each in untaught)
    assert [each.facts.seed for each in untaught] == [each.facts.seed for each in kept]


def test_the_first_boosted_member_is_unweighted(study):
    """Only its images' weights make a boosted member another."""
    equal = study.load("digits_equal_checkpoints")
    boosted = study.load("digits_boosted_seed1_checkpoints")
    rounds = study.load("digits_boosted_seed1_rounds_table")
    assert boosted[0].sha256 == equal[2].sha256, "of the second seed"
    assert boosted[1].sha256 != equal[3].sha256
    assert boosted[1].facts.parents["digits_boosted_seed1_member0@0"] == boosted[0].sha256
    assert rounds["error"].between(0, 1).all()
    first = rounds["error"].iloc[0]
    assert rounds["weight"].iloc[0] == pytest.approx(max(0, math.log((1 - first) / first) + math.log(9)))


def test_temperature_alpha_and_loss_are_chosen_on_validation(study):
    sweep, points = study.load("digits_sweep_table"), study.load("digits_points_table")
    means = sweep.groupby("point", sort=False)["validation"].mean()
    assert list(means.index) == ["alpha0", "soft_cross_entropy_temperature10_alpha0_25", "kl_temperature10_alpha0_25"]
    assert means[best_point(sweep)] == means.max()
    best = points[points["role"].str.contains("best on validation")]
    assert best["validation"].iloc[0] == pytest.approx(means.max())
    tested = study.load("digits_sweep_predictions_soft_labels").members
    wanted = {best_point(sweep), "alpha0", "soft_cross_entropy_temperature10_alpha0_25"}
    assert {key.partition("_seed")[0].removeprefix("digits_sweep_") for key in tested} == wanted


def test_page_and_summary_have_every_arm(study):
    for heading in ("Every arm", "how many members", "how members are fused", "temperature and weight", "boosting"):
        assert heading in study.page
    assert study.page.count("<svg") == 3
    assert "100,752" in study.page
    assert "<script" not in study.page
    rows = {row["model"]: row for row in study.rows}
    arms = study.load("arms_table").drop_duplicates("arm").set_index("arm")
    assert rows["student"]["accuracy"] == pytest.approx(arms.loc["student", "test"])
    assert arms.loc["student", "seeds"] == 2
    assert {"teacher", "chosen", "all_on_labels", "boosted", "equal"} <= rows.keys()


def test_a_group_is_one_run_in_mlflow(study):
    with sqlite3.connect(study.project.path / "mlflow.db") as database:
        names = [name for (name,) in database.execute("select name from runs")]
    assert sum("conv2_kernel3_linear4" in name for name in names) == 2, names


def test_parameters_are_counted_as_in_the_source():
    def network(convolutions, hidden):
        return Architecture(kind="cnn", layers={"convolutions": convolutions, "kernel": 5, "hidden": [hidden]})

    assert counted_as_published(network([[8], [8]], 256), 28) == 100_752
    assert counted_as_published(network([[32], [64]], 1024), 28) == 3_213_664
    grid = [
        Architecture(kind="cnn", layers={"convolutions": [[c], [c]], "kernel": k, "hidden": [f]})
        for c in (4, 8, 16, 32) for k in (3, 5) for f in (32, 64, 128)
    ]  # fmt: skip
    assert sum(counted_as_published(each, 28) for each in grid) == 1_329_360, "of CIFAR-10, counted at 28 pixels"
    assert counted_as_published(Architecture(kind="resnet8"), 32) is None


def test_the_front_leaves_out_dominated_ensembles():
    sizes = pd.DataFrame(
        {
            "arm": "members", "order": "smallest first", "members": [1, 2, 3], "parameters": [10, 20, 30],
            "validation": [0.7, 0.8, 0.8], "test": [0.7, 0.75, 0.9],
        }
    )  # fmt: skip
    singles = pd.DataFrame(
        {"arm": ["teacher", "student", "members"], "parameters": [100, 15, 5], "validation": [0.9, 0.6, 0.99],
         "test": [0.9, 0.99, 0.99]}
    )  # fmt: skip
    front = figures.pareto_front(sizes, singles)
    assert list(front["parameters"]) == [10, 20, 100]


def test_the_notebook_runs(study, monkeypatch, capsys):
    assert study.run_notebook(monkeypatch) == 3
    assert "student_ensemble in base" in capsys.readouterr().out
