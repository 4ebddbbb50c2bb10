import dataclasses

import pytest
import torch
from pydantic import ValidationError

from knowledge_transfer.learning.checkpoint import Facts, require_one_lineage, require_present_images
from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.data.domains import ALL, Block
from knowledge_transfer.learning.data.splits import split
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import cpu_state, weights_sha256
from tests import models
from tests.conftest import stripes, two_domains
from tests.models import checkpoint


def test_build_gives_the_network_back_in_eval_mode():
    one = checkpoint()
    network = one.build()
    assert not network.training
    assert weights_sha256(cpu_state(network)) == one.sha256


def test_build_refuses_weights_of_another_architecture():
    other = Architecture(kind="simple_cnn", width=0.5)
    one = checkpoint(name="a")
    one = dataclasses.replace(one, facts=one.facts.model_copy(update={"architecture": other}))
    with pytest.raises(ValueError, match=r"the weights of a@0 are not those of simple_cnn \(width 0.5\)"):
        one.build()


def test_one_bit_changes_the_hash():
    one = checkpoint()
    state = {name: tensor.clone() for name, tensor in one.state.items()}
    first = next(name for name, tensor in state.items() if tensor.is_floating_point() and tensor.ndim > 1)
    state[first].view(torch.int32).flatten()[0] ^= 1
    assert weights_sha256(state) != one.sha256 == weights_sha256(one.state)


def test_the_hash_knows_names_shapes_and_types():
    tensor = torch.zeros(4)
    states = [{"a": tensor}, {"b": tensor}, {"a": tensor.view(2, 2)}, {"a": tensor.int()}, {"a": tensor.bfloat16()}]
    assert len({weights_sha256(state) for state in states}) == 5


def test_facts_refuse_a_misspelt_key():
    with pytest.raises(ValidationError, match="unknown key 'architectur'; did you mean 'architecture'"):
        checkpoint(architectur="resnet8")


def test_a_model_predicts_its_domains_classes_or_all():
    mixed = mix(two_domains())
    student = checkpoint(domain="signs", class_names=("class 0", "class 1"), channels=3)
    assert student.block_in(mixed) == mixed.blocks[1]
    assert student.block_in(mixed.of("signs")).classes == slice(0, 2)
    target = checkpoint(class_names=mixed.class_names, channels=3)
    assert (target.block_in(mixed).domain, target.block_in(mixed).classes) == (ALL, slice(0, 5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"a@0 predicts the classes \['x', 'y', 'z'\], images of domain 'all' have \['digits/class 0'"),
        ({"domain": "digits"}, r"a@0 .*'z'\], images of domain 'digits' have \['class 0', 'class 1', 'class 2'\]"),
        ({"domain": "letters"}, "@0 predicts domain 'letters', the images are of digits, signs"),
        (
            {"domain": "digits", "class_names": stripes(3).class_names, "channels": 1},
            r"a@0 takes images of \[1, 32, 32\], these are \[3, 32, 32\]",
        ),
    ],
)
def test_a_model_of_another_block_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        checkpoint(**{"name": "a", "class_names": tuple("xyz"), "channels": 3, **changes}).block_in(mix(two_domains()))


def test_a_start_from_another_domain_is_refused():
    images = stripes(6)
    a, b = (dataclasses.replace(images, blocks=(Block(domain, 0, images.class_names),)) for domain in "ab")
    start = checkpoint(domain="a", class_names=images.class_names)
    start.require(start.facts.architecture, a)
    with pytest.raises(ValueError, match="predicts domain 'a', not 'b'"):
        start.require(start.facts.architecture, b)


def facts(name: str, round_: int, sha256: str, **parents: str) -> Facts:
    return models.facts(
        name=name, round=round_, sha256=sha256, parents={f"{key}@0": value for key, value in parents.items()}
    )


def test_one_run_is_one_lineage():
    require_one_lineage([facts("cnn", 0, "c"), facts("vgg19", 1, "v", cnn="c"), facts("cnn", 1, "d", cnn="c")])


def test_another_parent_is_refused_by_both_names():
    with pytest.raises(ValueError, match=r"vgg19@1 descends from another cnn@0 .* the stage that makes vgg19@1"):
        require_one_lineage([facts("vgg19", 1, "v", cnn="old"), facts("cnn", 0, "new")])


def test_absent_parents_are_not_checked():
    require_one_lineage([facts("vgg19", 1, "v", cnn="gone")])


def test_two_models_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two different cnn@0"):
        require_one_lineage([facts("cnn", 0, "one"), facts("cnn", 0, "other")])


def learned(name: str, round_: int, domain: str, images_sha256: str) -> Facts:
    return facts(name, round_, "w").model_copy(update={"domain": domain, "images_sha256": images_sha256})


def test_models_learned_from_images_of_their_domain():
    ours, transfer = split(mix(two_domains()), 0.5, seed=0)
    for domain in ("digits", "signs", "all"):
        own, through = ours.of(domain), transfer.of(domain)
        models = [
            learned("cnn", 0, domain, own.sha256),
            learned("cnn", 1, domain, through.sha256),
            learned("cnn", 2, domain, through.join(own).sha256),
        ]
        require_present_images(models, ours, transfer)
        for model in models:
            later = [{"round": 0}] if model.round else []  # what a first round learned from, a later one may too
            for wrong in ({"domain": "signs" if domain == "digits" else "digits"}, *later):
                with pytest.raises(ValueError, match=f"{model.name}@. learned from other images than the present sets"):
                    require_present_images([models[0], model.model_copy(update=wrong)], ours, transfer)


def test_another_cut_of_one_domain_concerns_its_models():
    domains = two_domains()
    ours, transfer = split(mix(domains), 0.5, seed=0)
    models = [learned(domain, 0, domain, ours.of(domain).sha256) for domain in domains]
    cut = mix({"digits": ours.of("digits"), "signs": ours.of("signs").subset(torch.arange(9))})
    with pytest.raises(ValueError, match="signs@0 learned from other images"):
        require_present_images(models, cut, transfer)
    require_present_images(models[:1], cut, transfer)
