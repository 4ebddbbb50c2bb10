"""Acceptance: which weights of a learner are kept, and between which candidates each stage chooses."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from knowledge_transfer.experiment.acceptance import acceptance_node, keep_best
from knowledge_transfer.hooks.parameters import check_parameters
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.distillation.acceptance import calibrated_nll
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.pipeline_registry import _base_parameters
from knowledge_transfer.pipelines import reverse_distillation, target_distillation
from tests.conftest import stripes, two_domains
from tests.models import CPU, QUICK, fit

CNN = Architecture(kind="simple_cnn", width=0.25)
IMAGES = stripes(60, seed=1)
# Every fifth label is another, so that no model is best the surer it is.
VALIDATION = dataclasses.replace(IMAGES, labels=(IMAGES.labels + (torch.arange(60) % 5 == 0)) % 3)


def named(model: Checkpoint, name: str, round_: int) -> Checkpoint:
    return dataclasses.replace(model, facts=model.facts.model_copy(update={"name": name, "round": round_}))


@pytest.fixture(scope="module")
def fits():
    """One network that has learned and one that has hardly moved."""
    still = QUICK.override({"learning_rate": 1e-6})
    found = {"poor": fit("cnn", stripes(60), CNN, recipe=still), "good": fit("cnn", stripes(60), CNN)}
    assert calibrated_nll(found["good"], VALIDATION, CPU) < calibrated_nll(found["poor"], VALIDATION, CPU)
    return found


def candidates(fits, **which):
    """Return the candidates of a student in round 2, each by which of the fits it is."""
    names = {"before": ("cnn", 1), "taught": ("cnn_taught", 2), "on_labels": ("cnn_continued", 2)}
    return {what: named(fits[how], *names[what]) for what, how in which.items()}


KEYS = {"before": "cnn@1", "taught": "cnn_taught@2", "on_labels": "cnn_continued@2"}


@pytest.mark.parametrize(
    ("how", "given", "kept"),
    [
        ("validation", {"before": "poor", "taught": "good", "on_labels": "poor"}, "taught"),
        ("validation", {"before": "good", "taught": "poor", "on_labels": "poor"}, "before"),
        ("validation", {"before": "poor", "taught": "poor", "on_labels": "good"}, "on_labels"),
        ("validation", {"before": "good", "taught": "good", "on_labels": "good"}, "before"),
        ("validation", {"taught": "good", "on_labels": "poor"}, "taught"),
        ("validation", {"taught": "poor", "on_labels": "good"}, "on_labels"),
        ("validation", {"before": "poor", "taught": "good"}, "taught"),
        ("always", {"before": "good", "taught": "poor", "on_labels": "good"}, "taught"),
        ("always", {"taught": "poor"}, "taught"),
    ],
)
def test_what_is_best_on_validation_is_kept(fits, how, given, kept):
    """Among equals the model as it was before; `always` keeps what was taught."""
    models = candidates(fits, **given)
    found = keep_best("cnn", VALIDATION, how, "cpu", **models)
    nll = {model.facts.key: calibrated_nll(model, VALIDATION, CPU) for model in models.values()}
    assert (found.facts.name, found.facts.round) == ("cnn", 2)
    assert found.facts.parents == {KEYS[kept]: fits[given[kept]].sha256}
    assert found.facts.validation_nll == nll
    assert found.curve == ()
    assert models[kept].curve != ()
    assert found.sha256 == fits[given[kept]].sha256
    assert found.state is models[kept].state


def test_how_sure_a_model_is_does_not_count(fits):
    """A temperature takes that away again: twice the logits are the same knowledge."""
    plain = fits["good"]
    *_, weight, bias = plain.state
    twice = {name: 2 * plain.state[name] for name in (weight, bias)}
    sure = dataclasses.replace(plain, state={**plain.state, **twice})
    assert calibrated_nll(sure, VALIDATION, CPU) == pytest.approx(calibrated_nll(plain, VALIDATION, CPU), rel=1e-4)
    logits = predict(plain.build(), VALIDATION, device=CPU)
    assert calibrated_nll(plain, VALIDATION, CPU) < F.cross_entropy(logits, VALIDATION.labels)


def test_a_student_of_a_mix_is_judged_on_its_own_domain():
    mixed = mix(two_domains())
    signs = [fit(name, mixed.of("signs"), CNN, seed=seed) for seed, name in enumerate(("cnn_taught", "cnn"))]
    taught, before = named(signs[0], "cnn_taught", 1), signs[1]
    found = keep_best("cnn", mixed, "validation", "cpu", before=before, taught=taught)
    assert found.facts.domain == "signs"
    assert found.facts.validation_nll == {
        model.facts.key: calibrated_nll(model, mixed.of("signs"), CPU) for model in (before, taught)
    }


def experiment(**changes):
    parameters = {**_base_parameters(), "rounds": 2}
    parameters["evaluation"] = {"controls": changes.pop("controls", ["labels", "students_continued"])}
    return check_parameters({**parameters, **changes})


def checkpoints_of(node):
    return [name.removesuffix("_checkpoint") for name in node.inputs if name.endswith("_checkpoint")]


@pytest.mark.parametrize(
    ("controls", "name", "round_", "expected"),
    [
        (["labels"], "vgg19", 1, ["vgg19_taught_round1"]),
        (["labels"], "vgg19", 2, ["vgg19_round1", "vgg19_taught_round2", "vgg19_labels_round2"]),
        (["label_smoothing", "students_continued"], "vgg19", 2, ["vgg19_round1", "vgg19_taught_round2"]),
        (["students_continued"], "resnet8", 1, ["resnet8_round0", "resnet8_taught_round1"]),
        (
            ["students_continued"],
            "resnet8",
            2,
            ["resnet8_round1", "resnet8_taught_round2", "resnet8_continued_round2"],
        ),
        (["labels", "students_mutual"], "resnet8", 2, ["resnet8_round1", "resnet8_taught_round2"]),
        (False, "resnet8", 2, ["resnet8_round1", "resnet8_taught_round2"]),
    ],
)
def test_candidates_of_each_round(controls, name, round_, expected):
    """The target is new in round 1; the reference arm on labels is there in the last round, if at all."""
    stage = "target_distillation" if name == "vgg19" else "reverse_distillation"
    node = acceptance_node(experiment(controls=controls), stage, name, round_)
    assert checkpoints_of(node) == expected
    assert node.outputs == [f"{name}_round{round_}_checkpoint"]
    assert {"validation_images", "params:devices", f"params:{stage}.accept"} <= set(node.inputs)
    assert node.tags == {"acceptance", "gpu", f"model.{name}", *(["final"] if round_ == 2 else [])}


def test_the_only_round_is_the_last():
    node = acceptance_node(experiment(rounds=1), "target_distillation", "vgg19", 1)
    assert checkpoints_of(node) == ["vgg19_taught_round1", "vgg19_labels_round1"]
    assert "final" in node.tags


@pytest.mark.parametrize("stage", [target_distillation, reverse_distillation])
def test_each_learner_is_accepted_where_it_was_taught(stage):
    now = experiment()
    learners = [now.target.name] if stage is target_distillation else list(now.students)
    nodes = {node.short_name: node for node in stage.create_pipeline(now).nodes}
    for round_ in (1, 2):
        for name in learners:
            distil, accept = (nodes[f"{how}_{name}_round{round_}"] for how in ("distil", "accept"))
            assert distil.outputs == [f"{name}_taught_round{round_}_checkpoint"]
            assert distil.tags == {"training", "gpu", f"model.{name}_taught"}
            assert accept.namespace == distil.namespace == f"round_{round_}.{stage.__name__.rpartition('.')[2]}"


def test_what_is_accepted_goes_on():
    """The next round begins with what was kept, and what was kept teaches."""
    nodes = {node.short_name: node for node in target_distillation.create_pipeline(experiment()).nodes}
    nodes |= {node.short_name: node for node in reverse_distillation.create_pipeline(experiment()).nodes}
    assert {"vgg19_round1_checkpoint", "resnet8_round1_checkpoint"} <= set(nodes["distil_vgg19_round2"].inputs)
    assert {"vgg19_round2_checkpoint", "resnet8_round1_checkpoint"} <= set(nodes["distil_resnet8_round2"].inputs)
    assert "vgg19_round2_checkpoint" in nodes["label_for_students_round2"].inputs
