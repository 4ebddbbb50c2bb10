import dataclasses

import pytest
import torch
from pydantic import ValidationError

from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.data.domains import ALL, Block
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.weights import cpu_state, weights_sha256
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
        ({}, r"a@0 answers with the classes \['x', 'y', 'z'\], the block of domain 'all' has \['digits/class 0'"),
        ({"domain": "digits"}, r"a@0 .*'z'\], the block of domain 'digits' has \['class 0', 'class 1', 'class 2'\]"),
        ({"domain": "letters"}, "@0 answers for domain 'letters', the images are of digits, signs"),
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
    with pytest.raises(ValueError, match="answers for domain 'a', not 'b'"):
        start.require(start.facts.architecture, b)
