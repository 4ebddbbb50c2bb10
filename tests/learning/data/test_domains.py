"""Blocks: what belongs to which domain, the worked numbers of the two losses, and what they never read."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.data.domains import (
    ALL,
    Block,
    blocks_of,
    domain_slices,
    domains_of,
    union_names,
    within_block,
)
from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.losses.objective import domain_loss, smoothed_cross_entropy, soft_loss_by_block
from knowledge_transfer.learning.losses.soft_loss import LossFunction

CPU = torch.device("cpu")
BLOCKS = blocks_of({"a": ("0", "1"), "b": ("0", "1", "2")})
LABELS = torch.tensor([0, 4, 2, 3, 1, 2])  # of both domains, in turns
DOMAINS = torch.tensor([0, 1, 1, 1, 0, 1])
SLICES = domain_slices(DOMAINS, BLOCKS, CPU)
OUTSIDE = torch.stack([torch.tensor([0, 0, 1, 1, 1]), torch.tensor([1, 1, 0, 0, 0])])[DOMAINS].bool()


def bound(name: str) -> LossFunction:
    return losses.resolve(name, {"temperature": 2.0})


def random_pair(classes: int = 5) -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, 6, classes, generator=torch.Generator().manual_seed(0)) * 3
    return student.requires_grad_(), teacher


def test_each_block_begins_where_the_one_before_ends():
    blocks = blocks_of({"a": ("0", "1"), "b": ("0", "1", "2"), "c": ("x",)})
    assert [(block.domain, block.start, block.stop) for block in blocks] == [("a", 0, 2), ("b", 2, 5), ("c", 5, 6)]
    assert torch.arange(6)[blocks[1].classes].tolist() == [2, 3, 4]


def test_equal_class_names_of_two_domains_stay_apart():
    assert union_names(BLOCKS) == ("a/0", "a/1", "b/0", "b/1", "b/2")
    assert union_names(BLOCKS[:1]) == ("0", "1"), "alone, a domain keeps its own names"


def test_a_label_tells_its_domain():
    assert domains_of(torch.arange(5), BLOCKS).tolist() == [0, 0, 1, 1, 1]
    assert domains_of(torch.arange(3), (Block(ALL, 0, ("x", "y", "z")),)).tolist() == [0, 0, 0]
    assert domains_of(LABELS, BLOCKS).equal(DOMAINS)


def test_kl_within_the_blocks_worked_number():
    """One image of the first domain and three of the second: each weighs a quarter; 9s stand outside the blocks."""
    student = [(0.8, 0.2, 9, 9, 9), (9, 9, 0.5, 0.25, 0.25), (9, 9, 0.2, 0.2, 0.6), (9, 9, 0.3, 0.3, 0.4)]
    teacher = [(0.5, 0.5, 9, 9, 9), (9, 9, 0.25, 0.5, 0.25), (9, 9, 0.6, 0.2, 0.2), (9, 9, 0.3, 0.3, 0.4)]
    expected = (
        (0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2))
        + (0.25 * math.log(0.25 / 0.5) + 0.5 * math.log(0.5 / 0.25))
        + (0.6 * math.log(0.6 / 0.2) + 0.2 * math.log(0.2 / 0.6))
        + 0
    )
    labels = torch.tensor([0, 4, 2, 3])
    value = soft_loss_by_block(
        losses.resolve("kl", {"temperature": 3.0}),
        3 * torch.tensor(student).log(),
        3 * torch.tensor(teacher).log(),
        labels,
        domain_slices(domains_of(labels, BLOCKS), BLOCKS, CPU),
    )
    assert value.item() == pytest.approx(9 * expected / 4, rel=1e-5)


@pytest.mark.parametrize("name", losses.SOFT_LOSSES)
def test_a_soft_loss_judges_each_domain_by_itself(name):
    """Labels too: `dkd` counts them from the block's first class."""
    student, teacher = random_pair()
    a, b = DOMAINS == 0, DOMAINS == 1
    first = bound(name)(student[a][:, :2], teacher[a][:, :2], LABELS[a])
    second = bound(name)(student[b][:, 2:], teacher[b][:, 2:], LABELS[b] - 2)
    value = soft_loss_by_block(bound(name), student, teacher, LABELS, SLICES)
    torch.testing.assert_close(value, (2 * first + 4 * second) / 6)


@pytest.mark.parametrize("anything", [1e9, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", losses.SOFT_LOSSES)
def test_logits_outside_the_block_have_no_effect(name, anything):
    student, teacher = random_pair()
    plain = soft_loss_by_block(bound(name), student, teacher, LABELS, SLICES)
    gradient = torch.autograd.grad(plain, student)[0]
    assert (gradient[OUTSIDE] == 0).all()
    assert (gradient[~OUTSIDE] != 0).any()
    for learner, sayer in (
        (student, teacher.masked_fill(OUTSIDE, anything)),
        (student.detach().masked_fill(OUTSIDE, anything).requires_grad_(), teacher),
    ):
        value = soft_loss_by_block(bound(name), learner, sayer, LABELS, SLICES)
        assert value.equal(plain)
        assert torch.autograd.grad(value, learner)[0].equal(gradient)


@pytest.mark.parametrize("name", losses.SOFT_LOSSES)
def test_one_block_gives_the_plain_loss(name):
    student, teacher = random_pair()
    slices = domain_slices(torch.zeros(6).long(), (Block(ALL, 0, tuple("vwxyz")),), CPU)
    plain = bound(name)(student, teacher, LABELS)
    value = soft_loss_by_block(bound(name), student, teacher, LABELS, slices)
    assert value.equal(plain)
    assert torch.autograd.grad(value, student)[0].equal(torch.autograd.grad(plain, student)[0])


@pytest.mark.parametrize("name", losses.SOFT_LOSSES)
def test_a_batch_may_lack_a_domain(name):
    student, teacher = random_pair()
    labels = LABELS % 2
    slices = domain_slices(torch.zeros(6).long(), BLOCKS, CPU)
    value = soft_loss_by_block(bound(name), student, teacher, labels, slices)
    assert value.equal(bound(name)(student[:, :2], teacher[:, :2], labels))
    torch.testing.assert_close(domain_loss(student, slices), -student.softmax(1)[:, :2].sum(1).log().mean())


def test_domain_loss_worked_number():
    """-log of what the block gets: 0.4 of an image of the first domain, 0.8 and 0.5 of two of the second."""
    probabilities = torch.tensor([[0.1, 0.3, 0.2, 0.2, 0.2], [0.1, 0.1, 0.5, 0.2, 0.1], [0.25, 0.25, 0.1, 0.1, 0.3]])
    slices = domain_slices(torch.tensor([0, 1, 1]), BLOCKS, CPU)
    value = domain_loss(probabilities.log() + 5, slices)
    assert value.item() == pytest.approx(-(math.log(0.4) + math.log(0.8) + math.log(0.5)) / 3, rel=1e-5)


def test_cross_entropy_is_domain_loss_plus_that_within():
    student, _ = random_pair()
    within = F.cross_entropy(within_block(student, DOMAINS, BLOCKS), LABELS)
    torch.testing.assert_close(domain_loss(student, SLICES) + within, F.cross_entropy(student, LABELS))


def test_one_block_has_no_domain_to_learn():
    student, _ = random_pair()
    assert domain_loss(student, domain_slices(torch.zeros(6).long(), (Block(ALL, 0, tuple("vwxyz")),), CPU)) == 0


def test_a_known_domain_excludes_other_classes():
    student, _ = random_pair()
    known = within_block(student, DOMAINS, BLOCKS)
    assert (known[OUTSIDE] == -math.inf).all()
    assert known[~OUTSIDE].equal(student[~OUTSIDE])


def test_smoothing_spreads_over_the_domain_alone():
    """By hand: an image of two classes of five at smoothing 0.1 wants 0.95 and 0.05, nothing elsewhere."""
    logits = torch.tensor([[1.0, 0.0, 2.0, -1.0, 0.5], [0.0, 3.0, 1.0, 2.0, -2.0]])
    targets = F.one_hot(torch.tensor([3, 1]), 5).float()
    slices = [(torch.tensor([1]), slice(0, 3)), (torch.tensor([0]), slice(3, 5))]
    wanted = torch.tensor([[0, 0, 0, 0.95, 0.05], [0.1 / 3, 0.9 + 0.1 / 3, 0.1 / 3, 0, 0]])
    expected = -(wanted * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(smoothed_cross_entropy(logits, targets, 0.1, slices), expected)
    whole = [(slice(None), slice(0, 5))]
    one_domain = F.cross_entropy(logits, targets, label_smoothing=0.1)
    assert smoothed_cross_entropy(logits, targets, 0.1, whole).equal(one_domain)
