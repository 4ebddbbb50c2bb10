import dataclasses

import pytest
import torch
from pydantic import ValidationError

from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.data.domains import ALL, Block
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import cpu_state, weights_sha256
from tests.conftest import stripes, two_domains
from tests.learning.models.test_network import make


def checkpoint(kind="resnet8", **changes):
    torch.manual_seed(0)
    state = cpu_state(make(kind, width=0.5, channels=1, classes=3))
    facts = {
        "name": "a",
        "round": 0,
        "architecture": Architecture(kind=kind, width=0.5),
        "class_names": ("x", "y", "z"),
        "channels": 1,
        "image_size": 32,
        "mean": (0.5,),
        "deviation": (0.25,),
        "parameters": 1,
        "seed": 0,
        "images_sha256": "",
        "recipe": {},
        "sha256": weights_sha256(state),
    }
    return Checkpoint(Facts(**{**facts, **changes}), state)


def test_build_gives_the_network_back_in_eval_mode():
    one = checkpoint()
    network = one.build()
    assert not network.training
    assert weights_sha256(cpu_state(network)) == one.sha256


def test_build_refuses_weights_of_another_architecture():
    one = checkpoint(architecture=Architecture(kind="simple_cnn", width=0.5))
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


def test_a_model_answers_with_its_domain_s_block_or_with_all_classes():
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
def test_a_model_that_does_not_fit_its_block_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        checkpoint(**{"channels": 3, **changes}).block_in(mix(two_domains()))


def test_a_start_from_another_domain_is_refused_though_its_classes_have_the_same_names():
    images = stripes(6)
    a, b = (dataclasses.replace(images, blocks=(Block(domain, 0, images.class_names),)) for domain in "ab")
    start = checkpoint(domain="a", class_names=images.class_names)
    start.require(start.facts.architecture, a)
    with pytest.raises(ValueError, match="predicts domain 'a', not 'b'"):
        start.require(start.facts.architecture, b)
