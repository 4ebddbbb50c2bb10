"""The recipe's optimizers and learning rate schedules."""

from __future__ import annotations

import copy
from typing import Literal, TypeVar

import pytest
import torch
from torch import nn

from knowledge_transfer.learning.hardware import autocast
from knowledge_transfer.learning.models.network import Network
from knowledge_transfer.learning.training import optimizer
from knowledge_transfer.learning.training.optimizer import optimizer_of, rate_factor
from knowledge_transfer.learning.training.recipe import Recipe
from tests import models

Trained = TypeVar("Trained", bound=nn.Module)
MUON = Recipe(optimizer="muon", learning_rate=0.01, weight_decay=0.0, momentum=0.9)


def network(*, channels_last: bool = True) -> Network:
    net = models.network("simple_cnn")
    return net.to(memory_format=torch.channels_last) if channels_last else net


def with_gradients(net: Trained) -> Trained:
    for number, parameter in enumerate(net.parameters()):
        generator = torch.Generator().manual_seed(number)
        parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))
    return net


@pytest.mark.parametrize("channels_last", [True, False])
def test_muon_steps_along_the_nearest_orthogonal_matrix(channels_last: bool) -> None:
    net = with_gradients(network(channels_last=channels_last))
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimizer_of(net, MUON).step()
    for name, parameter in net.named_parameters():
        step = before[name] - parameter.detach()
        if parameter.ndim == 4:
            matrix = step.flatten(1)
            left, _, right = torch.linalg.svd(parameter.grad.flatten(1), full_matrices=False)
            size = 0.2 * max(matrix.shape) ** 0.5 * MUON.learning_rate
            # Five iterations in bfloat16 bring the singular values near 1, to 0.7 … 1.2 (Jordan 2024).
            assert torch.linalg.svdvals(matrix / size).sub(1).abs().max() < 0.35, name
            assert torch.nn.functional.cosine_similarity(matrix.flatten(), (left @ right).flatten(), dim=0) > 0.97


def test_the_last_layer_and_all_vectors_are_adams() -> None:
    net = with_gradients(network())
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
    optimizer_of(net, MUON).step()
    adams = {name for name, parameter in net.named_parameters() if parameter.ndim == 1} | {"body.6.weight"}
    for name in adams:
        step = before[name] - net.get_parameter(name).detach()
        # Adam's first step is the rate times the gradient's sign.
        torch.testing.assert_close(step, MUON.learning_rate * net.get_parameter(name).grad.sign(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_an_optimizer_continues_from_its_state(optimizer: str) -> None:
    recipe = MUON.override({"optimizer": optimizer})
    nets = [network(), network()]
    first = optimizer_of(with_gradients(nets[0]), recipe)
    first.step()
    nets[1].load_state_dict(nets[0].state_dict())
    second = optimizer_of(with_gradients(nets[1]), recipe)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for each in (first, second):
        each.step()
    assert all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


def test_muon_follows_a_network_moved_in_memory() -> None:
    net = with_gradients(network())
    optimizer = optimizer_of(net, MUON)
    for parameter in net.parameters():
        parameter.data = parameter.data.clone()
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer.step()
    assert not any(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_fused_optimizer_equals_the_plain_one(optimizer: str) -> None:
    recipe = MUON.override({"optimizer": optimizer, "weight_decay": 0.01})
    ours, plain = with_gradients(network()), with_gradients(network())
    first = optimizer_of(ours, recipe)
    second = type(first)([{**group, "fused": False} for group in optimizer_of(plain, recipe).param_groups])
    for _ in range(3):
        first.step()
        second.step()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("kind", ["simple_cnn", "resnet8", "resnet50", "squeezenet", "vgg19", "alexnet"])
def test_gradients_lie_in_memory_like_their_weights(kind: str, precision: Literal["bf16", "fp32"]) -> None:
    """A fused optimizer reads both as they lie, and takes the wrong pairs where they lie differently."""
    net = models.network(kind).to(memory_format=torch.channels_last).train()
    with autocast(torch.device("cpu"), precision):
        net(torch.zeros(4, 1, 32, 32, dtype=torch.uint8)).float().sum().backward()
    for name, parameter in net.named_parameters():
        # The stride of a side of 1 has no meaning.
        used = [size > 1 for size in parameter.shape]
        strides = zip(used, parameter.stride(), parameter.grad.stride(), strict=True)
        assert all(own == of_gradient for is_used, own, of_gradient in strides if is_used), name


def test_zero_grad_forgets_all_gradients() -> None:
    net = with_gradients(network())
    optimizer_of(net, MUON).zero_grad()
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_rate_rises_to_its_peak(schedule: str) -> None:
    factors = [rate_factor(step, 100, schedule, 0.2) for step in range(100)]
    assert max(factors) == 1.0
    assert factors[:20] == sorted(factors[:20])
    assert all(0 < factor <= 1 for factor in factors)


def test_the_schedules_have_their_worked_values() -> None:
    assert rate_factor(20, 100, "linear", 0.2) == 1
    assert rate_factor(60, 100, "linear", 0.2) == pytest.approx(0.5)
    assert rate_factor(60, 100, "cosine", 0.2) == pytest.approx(0.5)
    assert rate_factor(40, 100, "cosine", 0.2) == pytest.approx(0.853553, abs=1e-6)
    assert rate_factor(99, 100, "constant", 0.2) == 1
    assert rate_factor(0, 100, "constant", 0) == 1


@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_follows_that_of_torch_which_is_slow_where_bfloat16_is_emulated(nesterov: bool) -> None:
    recipe = MUON.override({"weight_decay": 0.1, "nesterov": nesterov})
    first = torch.randn(12, 30, generator=torch.Generator().manual_seed(0))
    own, theirs = nn.Sequential(nn.Linear(30, 12), nn.Linear(12, 2)), nn.Parameter(first.clone())
    own[0].weight.data.copy_(first)
    ours = optimizer_of(own, recipe)
    reference = torch.optim.Muon(
        [theirs],
        lr=recipe.learning_rate,
        weight_decay=0.1,
        momentum=0.9,
        nesterov=nesterov,
        adjust_lr_fn="match_rms_adamw",
    )
    for seed in range(3):
        with_gradients(own)
        own[0].weight.grad = torch.randn(12, 30, generator=torch.Generator().manual_seed(seed))
        theirs.grad = own[0].weight.grad.clone()
        ours.step()
        reference.step()
    moved = (theirs.detach() - first).norm()
    # torch multiplies in bfloat16, of eight bits.
    assert (own[0].weight.detach() - theirs.detach()).norm() < 0.02 * moved


@pytest.mark.parametrize("is_native", [True, False])
def test_muon_multiplies_in_bfloat16_only_where_the_hardware_does(
    is_native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer, "has_native_bf16", lambda _: is_native)
    multiplied = []
    addmm = torch.addmm
    monkeypatch.setattr(torch, "addmm", lambda *given, **how: multiplied.append(given[1].dtype) or addmm(*given, **how))
    optimizer_of(with_gradients(network()), MUON).step()
    assert set(multiplied) == {torch.bfloat16 if is_native else torch.float32}
