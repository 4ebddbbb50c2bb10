"""The study multi_teacher, run once through Kedro on tiny data, and its tables and sentences."""

import pandas as pd
import pytest
import torch

from knowledge_transfer.experiment.study_nodes import part_of, predict_images
from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES
from knowledge_transfer.learning.evaluation.metrics import SCORES
from knowledge_transfer.pipelines.multi_teacher import summary_text
from knowledge_transfer.pipelines.multi_teacher.nodes import compare_methods
from knowledge_transfer.pipelines.multi_teacher.published import PUBLISHED, is_published, published_gap
from knowledge_transfer.pipelines.multi_teacher.settings import Settings
from knowledge_transfer.pipelines.multi_teacher.votes import BY_CLASS, compare_rules, is_tied
from tests.conftest import stripes
from tests.studies import Study

NETWORK = {"kind": "cnn", "layers": {"convolutions": [[2], [4]], "hidden": [8]}}
MODEL = {"architecture": NETWORK, "recipe": {"epochs": 1, "batch_size": 30, "precision": "fp32"}}
TINY = {
    "seeds": 2,
    "members": [2, 3],
    "alphas": [1],
    "fractions": [0.5],
    "swept": ["mimic_all"],
    "sets": {"digits": {"data": {"limit": 150, "test_limit": 60}, "teacher": MODEL, "learner": MODEL}},
}


@pytest.fixture(scope="module")
def study(run_once):
    return Study(run_once, "multi_teacher", TINY)


@pytest.fixture(scope="module")
def methods(study):
    return study.load("methods_table")


@pytest.fixture(scope="module")
def rules(study):
    return study.load("rules_table")


def probabilities(study, *names):
    predictions = study.load("digits_seed0_test_predictions_soft_labels")
    return predictions.only([f"digits_{name}_seed0@0" for name in names]).logits[:, :, 0].float().softmax(-1)


def test_every_arm_has_its_seeds(methods):
    arms = methods.set_index(["method", "members", "sweep", "alpha", "fraction"])["seeds"]
    many = {(method, k) for method in ("output_avg", "loss_avg", "mimic_all", "stacked") for k in (2, 3)}
    assert {key[:2] for key in arms.index if key[2] == "main"} == {
        *many,
        ("teacher", 1),
        ("labels", 0),
        ("one_teacher", 1),
    }
    assert arms["mimic_all", 3, "alpha", 1, 1] == 2
    assert arms["mimic_all", 3, "fraction", 0.5, 0.5] == 2
    assert arms["teacher", 1, "main", 0, 0.5] == 2 * 3


def test_a_learner_descends_from_its_own_teachers(study):
    for method in ("output_avg", "mimic_all", "stacked"):
        facts = study.facts(f"digits_{method}_k2_seed1")
        assert list(facts.parents) == ["digits_teacher0_seed1@0", "digits_teacher1_seed1@0"]
    part = study.facts("digits_mimic_all_k3_part0_5_seed0")
    assert set(part.parents) == {f"digits_part0_5_teacher{number}_seed0@0" for number in range(3)}
    assert study.facts("digits_labels_seed0").parents == {}


def test_teachers_of_a_part_have_different_parts(study):
    seen = {
        study.facts(f"digits_part0_5_teacher{number}_seed{seed}").images_sha256
        for number in range(3)
        for seed in range(2)
    }
    assert len(seen) == 6


def test_two_names_of_one_gradient_learn_the_same(study, methods):
    averaged, apart, heads = probabilities(study, "output_avg_k3", "loss_avg_k3", "mimic_all_k3")
    torch.testing.assert_close(averaged, apart, atol=2e-3, rtol=0)
    assert not torch.allclose(averaged, heads, atol=2e-2)
    gap = methods[methods["method"] == "loss_avg"]["beyond_output_avg"]
    assert gap.abs().max() < 0.02


def test_only_mimics_have_heads(study):
    heads = {
        name: study.facts(f"digits_{name}_seed0").architecture.heads
        for name in ("teacher0", "output_avg_k3", "loss_avg_k3", "mimic_all_k2", "mimic_all_k3", "stacked_k3")
    }
    assert heads == {**dict.fromkeys(heads, 1), "mimic_all_k2": 2, "mimic_all_k3": 3}


def test_stacking_was_fitted_on_validation(study):
    validation_scores = study.load("digits_seed0_validation_scores")
    assert {arm: len(team) for arm, team in validation_scores.items()} == {"stacked_k2": 2, "stacked_k3": 3}
    assert all(len(each["fitted"]["stacked"]) == 11 for team in validation_scores.values() for each in team.values())
    assert study.facts("digits_stacked_k2_seed0").distillation["fusion"] == "stacked"


def test_every_rule_fuses_the_same_teachers(rules):
    for members in (2, 3):
        own = rules[rules["members"] == members].set_index("rule")
        assert set(own.index) == {*FUSION_RULES, *VOTING_RULES, BY_CLASS}
        assert own.loc[list(FUSION_RULES), "nll"].notna().all()
        assert own.loc[list(VOTING_RULES), "nll"].isna().all()
        assert own["tied"].notna().sum() == 1
    # Of two ballots that differ each class has one.
    tied = rules.set_index(["members", "rule"])["tied"]
    assert tied[2, "plurality"] > 0


def test_ensembles_cost_what_their_members_cost(study):
    costs = study.load("compression_table").set_index(["members", "what"])
    for column in ("parameters", "macs", "milliseconds"):
        assert costs.loc[(3, "ensemble"), column] == pytest.approx(1.5 * costs.loc[(2, "ensemble"), column])
    assert costs.loc[(3, "output_avg"), "saved"] == pytest.approx(3)
    heads = costs.loc[(3, "mimic_all"), "parameters"] - costs.loc[(3, "output_avg"), "parameters"]
    assert heads == 2 * (8 * 10 + 10)


def test_the_summary_has_every_model(study):
    assert len(study.rows) == 2 * (2 * 3 + 2 + 2 * 4 + 2)
    assert {row["stage"] for row in study.rows} == {"digits_teacher", "digits_learner"}
    assert all(isinstance(row["parameters"], int) and row["images_per_second"] > 0 for row in study.rows)


def test_the_page_has_its_findings(study):
    for found in ("is plurality the worst vote?", "same gradient", "of 3 teachers plurality", "2302.07215", "<svg"):
        assert found in study.page
    assert "nan" not in study.page.lower().replace("nanson", "")


def test_the_notebook_runs(study, monkeypatch, capsys):
    assert study.run_notebook(monkeypatch) == 2
    assert "multi_teacher in base" in capsys.readouterr().out


def settings(**changes):
    return Settings(**{"seed": 0, "devices": "cpu", **TINY, **changes})


def test_arms_have_names_of_their_own():
    names = [arm.name for arm in settings(alphas=[0.25, 0.5, 1], swept=["mimic_all", "stacked"]).arms]
    assert len(set(names)) == len(names)
    assert {"labels", "one_teacher", "stacked_k2", "mimic_all_k3_alpha0_25", "stacked_k3_part0_5"} <= set(names)


def test_a_model_of_other_images_is_refused(study):
    images = stripes(60)
    model = study.load("digits_part0_5_teacher0_seed0_checkpoint")
    with pytest.raises(ValueError, match="digits_part0_5_teacher0_seed0@0 learned from other images"):
        predict_images({model.facts.name: 0.5}, images, images, 0, "cpu", model)


def test_a_part_has_every_class_its_own_images():
    images = stripes(60)
    one, other = (part_of(images, 0.5, name, 0) for name in ("a", "b"))
    assert torch.bincount(one.labels).tolist() == [10, 10, 10]
    assert one.sha256 != other.sha256
    assert one.sha256 == part_of(images, 0.5, "a", 0).sha256


def test_ties_of_plurality():
    choices = torch.tensor([[0, 1, 2], [0, 0, 2], [0, 0, 1], [1, 2, 2]])  # of three members, image by image
    logits = torch.nn.functional.one_hot(choices.T, 3).float()
    assert is_tied(logits).tolist() == [True, False, False, False]
    two = torch.tensor([[0, 1], [2, 2]])
    assert is_tied(torch.nn.functional.one_hot(two.T, 3).float()).tolist() == [True, False]


def votes(**accuracies):
    rows = [
        {"members": 2, "fraction": 1.0, "seed": seed, "rule": rule, "accuracy": value, "nll": None, "tied": 0.1}
        for rule, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows).astype({"nll": float})


def test_the_page_names_better_and_worse_votes():
    table = votes(
        plurality=[0.90, 0.92, 0.91],
        borda=[0.93, 0.95, 0.94001],
        bucklin=[0.89, 0.93, 0.91],
        simpson=[0.85, 0.87, 0.86001],
        **{BY_CLASS: [0.88, 0.90, 0.89001]},
    )
    sentence = summary_text.plurality("digits", compare_rules(digits=table))
    assert "borda better and simpson worse beyond chance" in sentence
    assert "change by −2.0 ± 0.0 points" in sentence


def test_only_cifar10_has_published_figures():
    assert [PUBLISHED["output_avg", k, 1.0][0] for k in (2, 3, 4, 5)] == pytest.approx([0.8095, 0.8095, 0.7902, 0.8311])
    assert [PUBLISHED["loss_avg", k, 1.0][0] for k in (2, 3, 4, 5)] == pytest.approx([0.8208, 0.8118, 0.8284, 0.8282])
    assert [PUBLISHED["mimic_all", k, 1.0][0] for k in (2, 3, 4, 5)] == pytest.approx([0.8272, 0.8311, 0.8322, 0.8366])
    assert published_gap() == pytest.approx((0.01075, 0.00202), abs=1e-5)
    assert is_published("cifar10")
    assert not is_published("cifar100")
    scores = pd.DataFrame(
        [
            {"method": method, "members": k, "alpha": 0.5, "fraction": 1.0, "sweep": "main", "seed": seed}
            | dict.fromkeys(SCORES, 0.5)
            for method, k in (("labels", 0), ("output_avg", 2), ("mimic_all", 2))
            for seed in (0, 1)
        ]
    )
    compared = compare_methods(cifar10=scores, digits=scores).set_index(["data", "method"])["published"]
    assert compared["cifar10", "mimic_all"] == pytest.approx(0.8272)
    assert compared["digits"].isna().all()
