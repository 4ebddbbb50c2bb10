"""Steps of the stages: who teaches a model, and what it learns where nobody can."""

import dataclasses

import pytest
import torch

from knowledge_transfer.experiment.stage_config import DistillationStage, Student, Target
from knowledge_transfer.experiment.stage_steps import StageData, StageLabels, label_stage, train_model, views_of
from knowledge_transfer.learning.checkpoint_file import dump
from knowledge_transfer.learning.distillation.acceptance import calibrated_nll
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import Normalisation
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.pipelines.data_preparation.nodes import measure_normalisation
from knowledge_transfer.pipelines.reference_arms import nodes
from tests.conftest import stripes
from tests.models import CPU, fit

CNN = Architecture(kind="simple_cnn", width=0.125)
STAGE = DistillationStage(
    recipe=Recipe(epochs=2, batch_size=10, views=2, learning_rate=0.01, precision="fp32"),
    distillation=DistillationConfig(),
)
TARGET, STUDENT = Target(name="big", architecture=CNN), Student(name="cnn", architecture=CNN)
NORMALISATION = {"all": {"mean": [0.5], "deviation": [0.3]}}
TRANSFER, STUDENTS, VALIDATION = stripes(20, seed=1), stripes(30, seed=2), stripes(10, seed=3)
COLLAPSED = "answers one class for every image"


@pytest.fixture(scope="module")
def teacher():
    return fit("teacher", STUDENTS, CNN)


def taught(teacher, learner, collapse, images=TRANSFER, start=None):
    """Return `learner` as a teacher of whom validation says this taught it."""
    seed = views_of(type(learner), 7)
    soft_labels = label_stage(STAGE, images, STUDENTS, seed, "cpu", [teacher])
    scores = {"teacher@0": {"accuracy": 0.4, "collapse": collapse}}
    labels = StageLabels(soft_labels, {"teacher@0": teacher.sha256}, STAGE.distillation, scores)
    data = StageData(images, VALIDATION, NORMALISATION, 7, "cpu")
    return train_model(learner, data, STAGE.recipe, arm="taught", round_=1, start=start, labels=labels)


def test_a_member_starts_with_its_weights_behind_their_normalisation(tmp_path, teacher):
    file = tmp_path / "first.safetensors"
    file.write_bytes(dump([teacher], single=True))
    member = Student(name="cnn", architecture=CNN, weights=str(file), freeze=True)
    data = StageData(STUDENTS, VALIDATION, {"all": {"mean": [0.1], "deviation": [0.7]}}, 7, "cpu")
    found = train_model(member, data, STAGE.recipe)
    changed = {name for name in found.state if not found.state[name].equal(teacher.state[name])}
    assert changed == {"body.6.weight", "body.6.bias"}
    assert found.facts.mean == pytest.approx(teacher.facts.mean)
    assert list(found.facts.parents) == [str(file)]
    # Later it goes on from where it was, and its own normalisation goes before that of the weights.
    later = train_model(member, data, STAGE.recipe, round_=1, start=found)
    assert later.facts.parents == {"cnn@0": found.sha256}
    own = member.model_copy(update={"normalisation": Normalisation(mean=(0.2,), deviation=(0.4,))})
    assert train_model(own, data, STAGE.recipe).facts.mean == (0.2,)


def test_every_network_is_tried_before_the_first_is_trained():
    students = {
        "cnn": {"architecture": {"kind": "simple_cnn", "width": 0.125}},
        "own": {"architecture": {"kind": "tests.elsewhere:in_a_pair"}},
    }
    with pytest.raises(ValueError, match=r"^own \(tests\.elsewhere:in_a_pair\) cannot be trained: it returns a tuple"):
        measure_normalisation(STUDENTS, students, TARGET)
    students["own"] = {"architecture": {"kind": "tests.elsewhere:sound"}}
    assert measure_normalisation(STUDENTS, students, TARGET).keys() == {"all"}
    deep = Target(name="big", architecture={"kind": "cnn", "layers": {"convolutions": [[4]] * 6}})
    with pytest.raises(ValueError, match=r"^big \(cnn .*6 blocks halve images of 32 pixels away"):
        measure_normalisation(STUDENTS, students, deep)


def test_a_target_whose_teachers_have_collapsed_learns_from_labels(teacher):
    """Bit for bit as its reference arm, which knows no teacher."""
    alone = nodes.learn_from_labels("labels", TRANSFER, STUDENTS, VALIDATION, NORMALISATION, TARGET, STAGE, 1, 7, "cpu")
    found = taught(teacher, TARGET, COLLAPSED)
    assert found.facts.key == "big_taught@1"
    assert found.sha256 == alone.sha256
    assert (found.facts.parents, found.facts.distillation) == ({}, None)
    sound = taught(teacher, TARGET, "")
    assert sound.sha256 != alone.sha256
    assert sound.facts.parents == {"teacher@0": teacher.sha256}


def test_a_student_whose_teachers_have_collapsed_continues_on_labels(teacher):
    start = dataclasses.replace(teacher, facts=teacher.facts.model_copy(update={"name": "cnn"}))
    sets = (TRANSFER, STUDENTS, VALIDATION, NORMALISATION)
    alone = nodes.continue_student(*sets, STUDENT, STAGE, 1, 7, "cpu", start)
    found = taught(teacher, STUDENT, COLLAPSED, start=start)
    assert found.sha256 == alone.sha256
    assert found.facts.parents == alone.facts.parents == {"cnn@0": teacher.sha256}
    assert taught(teacher, STUDENT, "", start=start).sha256 != alone.sha256


@pytest.mark.parametrize("learner", [TARGET, STUDENT])
def test_without_teachers_and_labels_there_is_nothing_to_learn(teacher, learner):
    hidden = TRANSFER.without_labels()
    with pytest.raises(
        ValueError, match=f"{learner.name}: every teacher has collapsed, and these images have no label"
    ):
        taught(teacher, learner, COLLAPSED, hidden)
    assert taught(teacher, learner, "", hidden).facts.parents == {"teacher@0": teacher.sha256}


def stage(**distillation):
    return DistillationStage(recipe=STAGE.recipe, distillation=DistillationConfig(**distillation))


def fit_in(made, teacher, images=TRANSFER):
    """Return the target as that stage teaches it, and what it was taught with."""
    soft_labels = label_stage(made, images, STUDENTS, views_of(Target, 7), "cpu", [teacher])
    labels = StageLabels(soft_labels, {"teacher@0": teacher.sha256}, made.distillation)
    data = StageData(images, VALIDATION, NORMALISATION, 7, "cpu")
    return train_model(TARGET, data, made.recipe, arm="taught", round_=1, labels=labels), soft_labels


def test_a_plain_view_is_labelled_once_and_holds_for_every_view(teacher):
    made = DistillationStage(
        recipe=STAGE.recipe.override({"augmentation": {"crop": 3}}),
        distillation=DistillationConfig(plain_view=True, alpha=1),
    )
    found, soft_labels = fit_in(made, teacher)
    expected = predict(teacher.build(), TRANSFER, device=CPU)
    torch.testing.assert_close(soft_labels.logits[0, :, 0].float(), expected, atol=0.05, rtol=0.05)
    assert soft_labels.facts.views == 1
    repeated = dataclasses.replace(
        soft_labels,
        logits=soft_labels.logits.expand(-1, -1, 2, -1),
        facts=soft_labels.facts.model_copy(update={"views": 2, "augmentation": made.recipe.augmentation}),
    )
    every_view = StageLabels(repeated, {"teacher@0": teacher.sha256}, DistillationConfig(alpha=1))
    data = StageData(TRANSFER, VALIDATION, NORMALISATION, 7, "cpu")
    same = train_model(TARGET, data, made.recipe, arm="taught", round_=1, labels=every_view)
    assert same.sha256 == found.sha256


def test_a_plain_view_cannot_be_mixed():
    with pytest.raises(ValueError, match="plain_view labels one image"):
        DistillationStage(recipe=Recipe(augmentation={"mixup": 0.5}), distillation=DistillationConfig(plain_view=True))


def test_of_several_alphas_the_best_on_validation_is_kept(teacher):
    """Whatever the labels of other images say: validation alone decides, by the calibrated NLL."""
    made = stage(alpha=[0, 0.5, 1], temperature=[1, 4])
    assert (made.distillation.alpha, made.distillation.temperature) == (0, 1)
    found, _ = fit_in(made, teacher)
    pairs = [(alpha, t) for alpha in (0, 0.5, 1) for t in (1, 4)]
    singly = {pair: fit_in(stage(alpha=pair[0], temperature=pair[1]), teacher)[0] for pair in pairs}
    nll = {pair: calibrated_nll(each, VALIDATION, CPU) for pair, each in singly.items()}
    assert found.facts.chosen_from == {f"alpha {a:g}, temperature {t:g}": nll[a, t] for a, t in pairs}
    best = min(pairs, key=nll.__getitem__)
    assert found.sha256 == singly[best].sha256
    assert (found.facts.distillation["alpha"], found.facts.distillation["temperature"]) == best
    assert singly[best].facts.chosen_from == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [([], "alpha is an empty list"), ([0.5, 1.5], "less than or equal to 1"), ("0.5 x", "valid number")],
)
def test_a_list_of_alphas_is_checked(given, message):
    with pytest.raises(ValueError, match=message):
        DistillationConfig(alpha=given)


def test_alpha_by_confidence_is_half_shifted_for_each_image():
    found = DistillationConfig(alpha="by_confidence")
    assert (found.alpha, found.by_confidence) == (0.5, True)
    assert DistillationConfig(**found.model_dump()) == found
    with pytest.raises(ValueError, match="'dist' compares the images of a batch, alpha by_confidence weights each"):
        DistillationConfig(alpha="by_confidence", loss="dist")


def test_a_list_on_the_command_line_is_separated_by_blanks():
    assert [each.alpha for each in DistillationConfig(alpha="0.1 0.5 1").choices] == [0.1, 0.5, 1]
    assert DistillationConfig(alpha="0.5").choices == (DistillationConfig(alpha=0.5),)
    again = DistillationConfig(**DistillationConfig(alpha=[0.1, 0.5]).model_dump())
    assert [each.alpha for each in again.choices] == [0.1, 0.5]
