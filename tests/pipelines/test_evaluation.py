"""Evaluation on predictions that are made up, so that the results are known."""

import dataclasses
import io
import json
import math

import pandas as pd
import pytest
import torch
from torch import Tensor

from knowledge_transfer.experiment.stage_config import Roster, Target
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import LabellingFacts, SoftLabels
from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES
from knowledge_transfer.learning.evaluation import metrics as metrics_of_learning
from knowledge_transfer.learning.evaluation.metrics import Paired
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.pipelines.evaluation import comparisons as questions
from knowledge_transfer.pipelines.evaluation import nodes, predictions, tables
from tests.conftest import stripes
from tests.datasets.catalog.test_checkpoint import checkpoint
from tests.models import fit

STUDENTS = {"strong": {}, "weak": {}, "odd": {}}
TARGET = Target(name="big", architecture=Architecture(kind="vgg19", width=0.25))
COUNT = 40


def soft_labels_of(images: ImageSet, right: dict[str, int]) -> SoftLabels:
    """Every model is right on its first so many images and takes the next class for the others."""
    classes = len(images.class_names)
    logits = torch.zeros(len(right), len(images), 1, classes, dtype=torch.float16)
    for member, count in enumerate(right.values()):
        wrong = torch.arange(len(images)) >= count
        predicted = (images.labels + wrong) % classes
        logits[member, torch.arange(len(images)), 0, predicted] = 2 + member
    facts = LabellingFacts(
        teachers={key: f"hash of {key}" for key in right},
        images_sha256=images.sha256,
        class_names=images.class_names,
        views=1,
        view_seed=0,
        augmentation=Augmentation(),
    )
    return SoftLabels(logits, facts)


TEST, VALIDATION = stripes(COUNT, seed=1), stripes(COUNT, seed=2)
ON_TEST = {
    "strong@0": 10, "weak@0": 30, "odd@0": 20, "strong@1": 10, "weak@1": 36, "odd@1": 20,
    "big@1": 30, "big_taught@1": 32, "weak_taught@1": 34, "big_labels@1": 20, "weak_continued@1": 36,
}  # fmt: skip
COLLAPSED = "answers one class for every image"
# Validation ranks the students the other way round, so that a choice made on the test images shows.
ON_VALIDATION = {"strong@0": 40, "weak@0": 0, "odd@0": 0, "strong@1": 40, "weak@1": 0, "odd@1": 0}


@pytest.fixture(scope="module")
def labelled():
    return soft_labels_of(TEST, ON_TEST), TEST, soft_labels_of(VALIDATION, ON_VALIDATION), VALIDATION


@pytest.fixture(scope="module")
def costs():
    rows = [(key, 10 * (place + 1), 100 * (place + 1), 60.0 * (place + 1)) for place, key in enumerate(ON_TEST)]
    table = pd.DataFrame(rows, columns=["model", "parameters", "macs", "images_per_second"])
    return table.assign(warning=[COLLAPSED if key == "odd@0" else None for key in ON_TEST])


@pytest.fixture(scope="module")
def metrics(labelled, costs):
    return nodes.score_models(*labelled, costs, STUDENTS, TARGET, 1)


def row(table: pd.DataFrame, **wanted: object) -> pd.Series:
    chosen = table.loc[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    assert len(chosen) == 1, chosen
    return chosen.iloc[0]


def test_every_model_and_every_rule_has_one_row(metrics):
    rules = len(FUSION_RULES) + len(VOTING_RULES)
    assert metrics["stage"].value_counts().to_dict() == {
        "before": 3, "after": 3, "target": 1, "taught": 2, "ensemble": 2 * rules, "reference": 2 + 2
    }  # fmt: skip
    assert not metrics.duplicated(["model", "round"]).any()
    assert metrics.columns.tolist() == [
        "model", "stage", "round", "of", "arm", "domain", "images", "accuracy", "standard_error", "joint_accuracy",
        "nll", "ece", "parameters", "macs", "images_per_second", "warning",
    ]  # fmt: skip


def test_a_learner_as_taught_is_beside_the_accepted_one(metrics):
    for name, of, accuracy in (("big", "big", 30), ("big_taught", "big", 32), ("weak_taught", "weak", 34)):
        found = row(metrics, model=name, round=1)
        assert (found["of"], found["accuracy"]) == (of, accuracy / COUNT)
    assert row(metrics, model="weak_taught", round=1)[["stage", "arm"]].tolist() == ["taught", "taught"]


def test_a_warning_is_of_one_model_not_of_ensembles(metrics):
    warned = metrics[metrics["warning"].notna()]
    assert warned[["model", "round", "warning"]].to_numpy().tolist() == [["odd", 0, COLLAPSED]]


def test_accuracy_of_a_model_and_its_standard_error(metrics):
    weak = row(metrics, model="weak", round=0)
    assert weak["accuracy"] == 0.75
    assert weak["standard_error"] == pytest.approx(math.sqrt(0.75 * 0.25 / COUNT))


def test_accuracy_of_a_vote(metrics):
    """Two of three are right on the first 20 images: strong and weak and odd on 10, weak and odd on 10 more."""
    assert row(metrics, model="ensemble_plurality", round=0)["accuracy"] == 0.5


def test_a_vote_has_no_likelihood_and_no_calibration(metrics):
    votes = metrics["model"].isin([f"ensemble_{rule}" for rule in VOTING_RULES])
    assert votes.sum() == 2 * len(VOTING_RULES)
    assert metrics.loc[votes, ["nll", "ece"]].isna().all(axis=None)
    assert metrics.loc[~votes, ["nll", "ece"]].notna().all(axis=None)


def test_weights_and_strongest_member_come_from_validation(metrics):
    """Validation trusts `strong` alone, which is the worst on the test images."""
    assert row(metrics, model="ensemble_weighted", round=0)["accuracy"] == 0.25
    assert row(metrics, model="ensemble_boosted", round=0)["accuracy"] == 0.25
    assert row(metrics, model="ensemble_stacked", round=0)["stage"] == "ensemble"
    assert row(metrics, model="ensemble_without_strong", round=0)["stage"] == "reference"
    assert not metrics["model"].str.startswith("ensemble_without_weak").any()


def test_an_ensemble_costs_the_sum_of_its_members(metrics):
    ensemble = row(metrics, model="ensemble_mean_probabilities", round=0)
    assert (ensemble["parameters"], ensemble["macs"]) == (10 + 20 + 30, 100 + 200 + 300)
    assert ensemble["images_per_second"] == pytest.approx(1 / (1 / 60 + 1 / 120 + 1 / 180))
    rest = row(metrics, model="ensemble_without_strong", round=1)
    assert rest["parameters"] == 50 + 60


def test_one_student_is_an_ensemble_with_its_strongest():
    test, validation = soft_labels_of(TEST, {"only@0": 30, "big@1": 20}), soft_labels_of(VALIDATION, {"only@0": 10})
    found = predictions.predictions_of(test, TEST, validation, VALIDATION, Roster(("only",), "big", 1))
    assert not [key for key in found if "without" in key]
    torch.testing.assert_close(found["ensemble_mean_probabilities@0"].probabilities, found["only@0"].probabilities)


def test_logits_on_other_images_are_refused(labelled, costs):
    test, _, validation, _ = labelled
    with pytest.raises(ValueError, match="other images"):
        nodes.score_models(test, stripes(COUNT, seed=3), validation, VALIDATION, costs, STUDENTS, TARGET, 1)


def test_validation_logits_of_other_models_are_refused(labelled, costs):
    test, _, validation, _ = labelled
    teachers = {**validation.facts.teachers, "weak@0": "another"}
    stale = dataclasses.replace(validation, facts=validation.facts.model_copy(update={"teachers": teachers}))
    with pytest.raises(ValueError, match="weak@0"):
        nodes.score_models(test, TEST, stale, VALIDATION, costs, STUDENTS, TARGET, 1)


@pytest.mark.parametrize(
    ("difference", "error", "p", "expected"),
    [
        (0.02, 0.03, 0.01, "none"),
        (0.0, 0.0, 1.0, "none"),
        (0.02, 0.02, 0.05, "not beyond chance"),
        (0.02, 0.01, 0.049, "gain"),
        (-0.02, 0.01, 0.049, "loss"),
        (-0.02, 0.01, 0.3, "not beyond chance"),
    ],
)
def test_verdicts(difference, error, p, expected):
    assert questions.verdict(Paired(difference, error, p)) == expected


@pytest.fixture(scope="module")
def comparisons(labelled):
    return nodes.compare_models(*labelled, STUDENTS, TARGET, 1, 0)


def test_a_comparison_is_paired_on_the_same_images(comparisons):
    """big_labels is right on the first 20 images, big as taught on 12 more: 12 discordant pairs, all one way."""
    found = row(comparisons, question=questions.TARGET_OR_LABELS)
    assert (found["a"], found["b"], found["verdict"]) == ("big_taught@1", "big_labels@1", "gain")
    assert found["difference"] == 0.3
    assert found["standard_error"] == pytest.approx(math.sqrt(12 - 144 / COUNT) / COUNT)
    assert found["p_value"] == pytest.approx(2 * 0.5**12)
    assert 0 < found["low"] < 0.3 < found["high"] < 0.6


def test_what_was_taught_is_compared_accepted_or_not(comparisons):
    """Of the accepted models there is one comparison alone: each student with itself before."""
    of_target = comparisons[comparisons["question"].str.startswith("target or")]
    assert len(of_target) == 3
    assert set(of_target["a"]) == {"big_taught@1"}
    before = row(comparisons, question=questions.TAUGHT_OR_BEFORE)
    assert (before["a"], before["b"], before["difference"]) == ("weak_taught@1", "weak@0", pytest.approx(4 / COUNT))
    accepted = row(comparisons, question=questions.AFTER_OR_BEFORE, student="weak")
    assert (accepted["a"], accepted["b"], accepted["difference"]) == ("weak@1", "weak@0", pytest.approx(6 / COUNT))


def test_comparisons_with_a_missing_side_are_left_out(comparisons):
    found = set(comparisons["question"])
    assert questions.TARGET_OR_SMOOTHING not in found
    assert questions.TARGET_OR_CEILING not in found
    assert questions.TAUGHT_OR_MUTUAL not in found
    continued = comparisons[comparisons["question"] == questions.TAUGHT_OR_CONTINUED]
    assert continued[["a", "b"]].to_numpy().tolist() == [["weak_taught@1", "weak_continued@1"]]
    assert len(comparisons[comparisons["question"] == questions.AFTER_OR_BEFORE]) == len(STUDENTS)


def test_the_strongest_student_is_chosen_on_validation(comparisons):
    assert row(comparisons, question=questions.TARGET_OR_STRONGEST)["b"] == "strong@0"
    assert row(comparisons, question=questions.ENSEMBLE_OR_REST)["b"] == "ensemble_without_strong@0"


def test_the_same_seed_gives_the_same_intervals(labelled, comparisons):
    pd.testing.assert_frame_equal(nodes.compare_models(*labelled, STUDENTS, TARGET, 1, 0), comparisons)


def through_csv(table: pd.DataFrame) -> pd.DataFrame:
    """What the catalog gives back."""
    return pd.read_csv(io.StringIO(table.to_csv(index=False)), keep_default_na=False, na_values=[""])


def test_the_summary_is_strict_json(metrics):
    facts = {"pipeline": "bidirectional", "environment": "base", "started": 0.0}
    summary = json.loads(json.dumps(tables.summarise(through_csv(metrics), facts, 7), allow_nan=False))
    assert list(summary) == ["pipeline", "environment", "seed", "seconds", "rows"]
    assert (summary["pipeline"], summary["environment"], summary["seed"]) == ("bidirectional", "base", 7)
    assert summary["seconds"] > 0
    assert len(summary["rows"]) == len(metrics)
    for each in summary["rows"]:
        assert list(each) == [
            "model", "stage", "round", "accuracy", "nll", "ece", "parameters", "macs", "images_per_second", "warning"
        ]  # fmt: skip
        assert each["warning"] == (COLLAPSED if (each["model"], each["round"]) == ("odd", 0) else None)
        assert (each["nll"] is None) == (each["model"].removeprefix("ensemble_") in VOTING_RULES)
        assert isinstance(each["round"], int)
        assert isinstance(each["parameters"], int)


def test_confusion_has_labels_in_rows(labelled):
    """All wrong predictions are the class after the label."""
    table = tables.count_confusions(labelled[0], TEST, TARGET, 1)
    names = list(TEST.class_names)
    assert table.columns.tolist() == ["label", *names]
    wrong = (TEST.labels[30:] == 0).sum()
    assert table.loc[0, "class 1"] == wrong > 0
    assert table.loc[1, "class 0"] == 0
    assert table[names].to_numpy().sum() == COUNT


def test_agreement_counts_equal_wrong_predictions_too(labelled):
    table = tables.measure_agreement(labelled[0], TEST, STUDENTS, TARGET, 1).set_index("model")
    assert table.index.tolist() == ["strong@0", "weak@0", "odd@0", "strong@1", "weak@1", "odd@1", "big@1"]
    assert table.loc["strong@0", "weak@0"] == pytest.approx((10 + 10) / COUNT)
    assert table.loc["strong@0", "strong@1"] == 1


def test_calibration_of_target_teachers_and_labels_alone(labelled):
    table = tables.measure_calibration(labelled[0], TEST, STUDENTS, TARGET, 1)
    assert table.groupby("model")["images"].sum().to_dict() == {
        "big@1": COUNT, "big_labels@1": COUNT, "ensemble_mean_probabilities@0": COUNT
    }  # fmt: skip
    only = row(table, model="big@1")
    assert (only["accuracy"], only["images"]) == (0.75, COUNT)
    assert only["confidence"] == pytest.approx(math.exp(8) / (math.exp(8) + 2), rel=1e-4)


def test_calibration_bins_add_up_to_its_error():
    generator = torch.Generator().manual_seed(0)
    probabilities = (3 * torch.randn(500, 4, generator=generator)).softmax(1)
    labels = torch.randint(0, 4, (500,), generator=generator)
    bins = metrics_of_learning.reliability(probabilities, labels)
    error = sum(each.images * abs(each.accuracy - each.confidence) for each in bins) / 500
    assert error == pytest.approx(metrics_of_learning.score(probabilities, labels).ece, abs=1e-5)


def test_learning_curves_name_model_and_round():
    """An accepted model has no curve of its own."""
    of = (("weak", 0), ("weak_taught", 2), ("big_taught", 2), ("big_labels", 2))
    fits = [checkpoint(name=name, round=round_) for name, round_ in of]
    accepted = [dataclasses.replace(checkpoint(name=name, round=2), curve=()) for name in ("weak", "big")]
    curves = tables.collect_learning_curves(STUDENTS, TARGET, 2, *fits, *accepted)
    assert curves[["model", "stage", "round", "of", "arm"]].to_numpy().tolist() == [
        ["weak", "before", 0, "weak", None], ["weak_taught", "taught", 2, "weak", "taught"],
        ["big_taught", "taught", 2, "big", "taught"], ["big_labels", "reference", 2, "big", "labels"],
    ]  # fmt: skip
    assert curves[["epoch", "loss"]].to_numpy().tolist() == [[1, 0.625]] * 4


CUT = stripes(20), stripes(10, seed=1)  # student set, transfer set


@pytest.fixture(scope="module")
def trained():
    """Two fits of one network, the second a child of the first, and one of another."""

    def fitted(name, kind, round_=0, start=None):
        architecture = Architecture(kind=kind, width=0.25)
        return fit(name, CUT[round_], architecture, round_=round_, start=start)

    first = fitted("weak", "simple_cnn")
    return [first, fitted("weak", "simple_cnn", 1, first), fitted("odd", "resnet8")]


def test_models_predict_images_as_they_are(trained):
    predicted = nodes.predict_images(TEST, *CUT, "cpu", *trained)
    assert predicted.members == ("weak@0", "weak@1", "odd@0")
    with torch.no_grad():
        expected: Tensor = trained[2].build()(TEST.images)
    torch.testing.assert_close(predictions.by_key(predicted, TEST)["odd@0"], expected, atol=0.05, rtol=0.05)


def test_models_of_different_runs_are_refused(trained):
    first, second, _ = trained
    other = dataclasses.replace(first, facts=first.facts.model_copy(update={"sha256": "another"}))
    with pytest.raises(ValueError, match="weak@1 descends from another weak@0"):
        nodes.predict_images(TEST, *CUT, "cpu", other, second)


def test_models_of_images_cut_anew_are_refused(trained):
    with pytest.raises(ValueError, match="weak@0 learned from other images than the present sets"):
        nodes.predict_images(TEST, stripes(20, seed=2), stripes(10, seed=1), "cpu", *trained)


def test_costs_are_of_the_network_not_fit(trained):
    costs = nodes.measure_costs(TEST, "cpu", *trained).set_index("model")
    warnings = costs.pop("warning")
    assert warnings.fillna("").tolist() == [model.facts.warning for model in trained]
    assert costs.loc["weak@0"].tolist() == costs.loc["weak@1"].tolist()
    assert costs.loc["odd@0", "parameters"] == sum(tensor.numel() for tensor in trained[2].build().parameters())
    assert (costs > 0).all(axis=None)
