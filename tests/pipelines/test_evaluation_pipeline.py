"""The reference arms: as much training as the distilled model had, on the images it had, and no teacher."""

import dataclasses

import pytest
import torch

from knowledge_transfer.experiment import stage_steps
from knowledge_transfer.experiment.config import Experiment, seed_for
from knowledge_transfer.experiment.stage_config import DistillationStage, ReverseStage, Student, Target
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import TrainingDivergedError
from knowledge_transfer.pipelines import evaluation, reference_arms
from knowledge_transfer.pipelines.reference_arms import nodes
from tests.conftest import stripes, two_domains

CPU = torch.device("cpu")
ARCHITECTURE = Architecture(kind="simple_cnn", width=0.125)
RECIPE = Recipe(epochs=1, batch_size=10, views=2, learning_rate=0.01, precision="fp32")
TARGET = Target(name="big", architecture=ARCHITECTURE)
STUDENT = Student(name="cnn", architecture=ARCHITECTURE, reverse_recipe={"learning_rate": 0.02})
NORMALISATION = {"all": {"mean": [0.5], "deviation": [0.3]}}
MEASURED = Normalisation(**NORMALISATION["all"])
TRANSFER, STUDENTS, VALIDATION = stripes(20, seed=1), stripes(30, seed=2), stripes(10, seed=3)
SETS = (TRANSFER, STUDENTS, VALIDATION, NORMALISATION)


def distillation(stage: type[DistillationStage] = DistillationStage, **distillation: object) -> DistillationStage:
    return stage(recipe=RECIPE, distillation=DistillationConfig(**distillation))


@pytest.mark.parametrize("student_set", [False, True])
def test_labels_arm_has_images_and_rounds_of_distillation(student_set):
    checkpoint = nodes.learn_from_labels("labels", *SETS, TARGET, distillation(student_set=student_set), 3, 7, "cpu")
    images = TRANSFER.join(STUDENTS) if student_set else TRANSFER
    assert checkpoint.facts.key == "big_labels@3"
    assert checkpoint.facts.images_sha256 == images.sha256
    assert checkpoint.facts.recipe == RECIPE.override({"epochs": 3}).model_dump(mode="json")
    assert checkpoint.facts.distillation is None
    assert checkpoint.facts.parents == {}
    assert len(checkpoint.curve) == 3


def test_smoothing_is_all_that_differs_from_labels():
    plain = nodes.learn_from_labels("labels", *SETS, TARGET, distillation(), 1, 7, "cpu")
    smooth = nodes.learn_from_labels("label_smoothing", *SETS, TARGET, distillation(), 1, 7, "cpu", 0.2)
    changed = {name for name in plain.facts.recipe if plain.facts.recipe[name] != smooth.facts.recipe[name]}
    assert changed == {"label_smoothing"}
    assert smooth.facts.recipe["label_smoothing"] == 0.2
    assert (smooth.facts.seed, smooth.facts.images_sha256) == (plain.facts.seed, plain.facts.images_sha256)
    assert smooth.sha256 != plain.sha256


def test_the_ceiling_learns_from_every_image():
    checkpoint = nodes.learn_from_labels("all_labels", *SETS, TARGET, distillation(), 1, 7, "cpu")
    assert checkpoint.facts.images_sha256 == TRANSFER.join(STUDENTS).sha256


@pytest.mark.parametrize("collapse", ["", "answers one class"])
def test_the_arm_of_teachers_reads_no_label(collapse):
    """The same soft labels under other labels give the same weights: alpha is 1 whatever the experiment's."""
    teacher = learn("cnn", ARCHITECTURE, FitData(STUDENTS, VALIDATION, MEASURED), RECIPE, LearnOptions(1, CPU))
    weights = []
    for images in (TRANSFER, dataclasses.replace(TRANSFER, labels=(TRANSFER.labels + 1) % 3)):
        soft_labels = label(
            [teacher], images, views=2, view_seed=seed_for(7, "target_distillation"), augmentation=Augmentation(),
            device=CPU,
        )  # fmt: skip
        checkpoint = nodes.learn_without_labels(
            images,
            *SETS[1:],
            soft_labels,
            {"cnn@0": {"fitted": {"weighted": 1.0}, "accuracy": 0.5, "collapse": collapse}},
            TARGET,
            distillation(alpha=0.5),
            2,
            7,
            "cpu",
        )
        assert (checkpoint.facts.key, checkpoint.facts.parents) == ("big_no_labels@2", {"cnn@0": teacher.sha256})
        assert (checkpoint.facts.recipe["epochs"], checkpoint.facts.distillation["alpha"]) == (2, 1)
        weights.append(checkpoint.sha256)
    assert weights[0] == weights[1]


def test_no_arm_withholds_labels_that_a_loss_reads():
    dkd = distillation(loss="dkd", alpha=0.5)
    assert "train_big_no_labels" not in trained(stage(target_distillation=dkd))
    with pytest.raises(ValueError, match="no_labels withholds the labels that loss 'dkd' reads"):
        stage(target_distillation=dkd, controls=["no_labels"])


def test_an_arm_starts_with_the_model_weights():
    """The same seed as that of the model, so that nothing but the teacher differs."""
    checkpoint = nodes.learn_from_labels("labels", *SETS, TARGET, distillation(), 1, 7, "cpu")
    again = learn(
        "big", ARCHITECTURE, FitData(TRANSFER, VALIDATION, MEASURED), RECIPE, LearnOptions(seed_for(7, "big"), CPU)
    )
    assert checkpoint.sha256 == again.sha256


def test_a_student_continues_with_its_reverse_recipe():
    start = learn("cnn", ARCHITECTURE, FitData(STUDENTS, VALIDATION, MEASURED), RECIPE, LearnOptions(1, CPU))
    checkpoint = nodes.continue_student(*SETS, STUDENT, distillation(student_set=True), 2, 7, "cpu", start)
    assert checkpoint.facts.key == "cnn_continued@2"
    assert checkpoint.facts.parents == {"cnn@0": start.sha256}
    assert (checkpoint.facts.recipe["learning_rate"], checkpoint.facts.recipe["epochs"]) == (0.02, 2)
    assert checkpoint.facts.images_sha256 == TRANSFER.join(STUDENTS).sha256


HIDDEN = TRANSFER.without_labels()


@pytest.mark.parametrize(
    ("through", "images", "epochs"),
    [
        (TRANSFER, TRANSFER, 3),
        (TRANSFER.join(STUDENTS), TRANSFER.join(STUDENTS), 3),
        (HIDDEN, STUDENTS, 2),
        (HIDDEN.join(STUDENTS), STUDENTS, 5),
    ],
)
def test_an_arm_learns_from_labelled_images_for_as_many_steps(through, images, epochs):
    """Where no image of the distillation has a label, from the student set: 6 steps, 15 through both sets."""
    found, recipe = nodes._labelled(through, STUDENTS, RECIPE.override({"epochs": 3}))
    assert found.sha256 == images.sha256
    assert recipe == RECIPE.override({"epochs": epochs})
    assert recipe.epochs * len(found) == 3 * len(through)


def test_steps_are_counted_on_the_domain_of_the_learner():
    """Of the digits 2 images in 14 have a label, of the signs 6 in 12."""
    digits, signs = two_domains(12, 6).values()
    hidden = mix({"digits": digits, "signs": signs}).without_labels()
    through = hidden.join(mix({"digits": digits.subset(torch.tensor([0, 1])), "signs": signs}))
    for domain, factor in (("digits", 7), ("signs", 2)):
        assert nodes._labelled(through, through, RECIPE, domain)[1].epochs == factor * RECIPE.epochs


def test_a_short_fit_has_one_epoch_at_least():
    few, many = HIDDEN.subset(torch.arange(4)), TRANSFER.join(STUDENTS)
    assert nodes._labelled(few, many, RECIPE)[1].epochs == 1


@pytest.mark.parametrize(("student_set", "epochs"), [(False, 2), (True, 5)])
def test_arms_on_labels_know_withheld_ones_from_the_student_set(student_set, epochs):
    sets, how = (HIDDEN, *SETS[1:]), distillation(student_set=student_set)
    start = learn("cnn", ARCHITECTURE, FitData(STUDENTS, VALIDATION, MEASURED), RECIPE, LearnOptions(1, CPU))
    arms = [nodes.learn_from_labels(arm, *sets, TARGET, how, 3, 7, "cpu") for arm in ("labels", "label_smoothing")]
    for checkpoint in (*arms, nodes.continue_student(*sets, STUDENT, how, 3, 7, "cpu", start)):
        assert checkpoint.facts.images_sha256 == STUDENTS.sha256
        assert checkpoint.facts.recipe["epochs"] == len(checkpoint.curve) == epochs


def test_divergence_names_the_arm():
    wild = DistillationStage(
        recipe=RECIPE.override({"learning_rate": 1e30, "epochs": 3}), distillation=DistillationConfig()
    )
    with pytest.raises(TrainingDivergedError, match="big_labels"):
        nodes.learn_from_labels("labels", *SETS, TARGET, wild, 1, 7, "cpu")


def stage(*, rounds=1, students=("cnn", "tiny"), start="trained", controls=True, target_distillation=None):
    plan = Experiment(
        seed=0, devices="cpu", rounds=rounds, data={"source": "digits", "path": "", "image_size": 32},
        students={name: {"architecture": ARCHITECTURE} for name in students},
        target={"name": "big", "architecture": ARCHITECTURE},
        data_preparation={"transfer_fraction": 0.3, "validation_fraction": 0.1},
        student_training={"recipe": RECIPE},
        target_distillation=target_distillation or distillation(),
        reverse_distillation=distillation(ReverseStage, start=start),
        evaluation={"controls": controls},
    )  # fmt: skip
    return evaluation.create_pipeline(plan) + reference_arms.create_pipeline(plan)


def trained(pipeline):
    return {node.short_name for node in pipeline.only_nodes_with_tags("training").nodes}


def test_each_wanted_arm_is_a_training_node():
    pipeline = stage()
    arms = {"train_big_labels", "train_big_no_labels", "train_big_label_smoothing", "train_big_all_labels"}
    assert {node.name for node in pipeline.only_nodes_with_tags("training").nodes} == {
        f"reference_arms.{name}"
        for name in arms | {"train_cnn_continued", "train_tiny_continued", "train_students_mutual"}
    }
    assert all("gpu" in node.tags for node in pipeline.only_nodes_with_tags("training").nodes)
    assert not pipeline.only_nodes_with_tags("final").nodes
    assert {node.namespace for node in pipeline.nodes} == {"evaluation", "reference_arms"}


@pytest.mark.parametrize(
    ("controls", "arms"),
    [(False, set()), (["all_labels"], {"train_big_all_labels"}), (["students_continued"], {"train_cnn_continued"})],
)
def test_only_wanted_arms_are_trained_and_evaluated(controls, arms):
    pipeline = stage(students=("cnn",), controls=controls)
    assert trained(pipeline) == arms
    (predicting,) = (node for node in pipeline.nodes if node.short_name == "predict_test_images")
    checkpoints = [name for name in predicting.inputs if name.endswith("_checkpoint")]
    assert len(checkpoints) == 3 + 2 + len(arms), "before and after, as taught, arms"


def test_every_round_is_evaluated_arms_the_last():
    pipeline = stage(rounds=2)
    (predicting,) = (node for node in pipeline.nodes if node.short_name == "predict_test_images")
    assert [name.removesuffix("_checkpoint") for name in predicting.inputs if name.endswith("_checkpoint")] == [
        "cnn_round0", "tiny_round0", "cnn_round1", "tiny_round1", "cnn_round2", "tiny_round2", "big_round1",
        "big_round2", "big_taught_round1", "cnn_taught_round1", "tiny_taught_round1", "big_taught_round2",
        "cnn_taught_round2", "tiny_taught_round2", "big_labels_round2", "big_no_labels_round2",
        "big_label_smoothing_round2", "big_all_labels_round2", "cnn_continued_round2", "tiny_continued_round2",
        "cnn_mutual_round2", "tiny_mutual_round2",
    ]  # fmt: skip
    (validation,) = (node for node in pipeline.nodes if node.short_name == "predict_validation_images")
    assert [name.removesuffix("_checkpoint") for name in validation.inputs if name.endswith("_checkpoint")] == [
        f"{name}_round{round_}" for round_ in (0, 1, 2) for name in ("cnn", "tiny")
    ]


@pytest.mark.parametrize(("start", "expected"), [("trained", True), ("fresh", False)])
def test_students_continue_where_reverse_distillation_starts(start, expected):
    pipeline = stage(start=start)
    (arm,) = (node for node in pipeline.nodes if node.short_name == "train_cnn_continued")
    assert ("cnn_round0_checkpoint" in arm.inputs) == expected


@pytest.mark.parametrize("devices", [1, 3])
def test_target_arms_train_on_as_many_devices(devices, monkeypatch):
    replicas = []

    def learn_(_name, _architecture, _data, _recipe, options, **_):
        replicas.append(options.replicas)
        raise TrainingDivergedError("enough")

    monkeypatch.setattr(stage_steps, "learn", learn_)
    target = TARGET.model_copy(update={"devices": devices})
    with pytest.raises(TrainingDivergedError):
        nodes.learn_from_labels("labels", *SETS, target, distillation(), 1, 7, "cpu")
    with pytest.raises(TrainingDivergedError):
        nodes.continue_student(*SETS, STUDENT, distillation(), 1, 7, "cpu")
    assert replicas == [devices, 1]
