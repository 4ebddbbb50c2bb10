"""Steps of the stages: who teaches a model, and what it learns where nobody can."""

import dataclasses

import pytest

from knowledge_transfer.experiment.stage_config import DistillationStage, Student, Target
from knowledge_transfer.experiment.stage_steps import StageData, StageLabels, label_stage, train_model, views_of
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.pipelines.reference_arms import nodes
from tests.conftest import stripes
from tests.models import fit

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
