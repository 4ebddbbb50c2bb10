"""Fusion: worked numbers of every rule, the round trip through logits, and the weights fitted on validation."""

import math

import pytest
import torch
from torch import Tensor

from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES, fuse, teacher_logits
from knowledge_transfer.learning.ensembles.fusion_weights import FITS
from knowledge_transfer.learning.ensembles.voting import vote

SOFTENING_RULES = sorted(set(FUSION_RULES) - {"boosted", "stacked"})  # those that mix distributions at T


def members(*distributions: tuple[float, ...]) -> Tensor:
    """Logits [M, 1, C] of members that give one image these probabilities."""
    return torch.tensor(distributions).log().unsqueeze(1)


def random_logits(members: int = 3, images: int = 40, classes: int = 5) -> Tensor:
    return torch.randn(members, images, classes, generator=torch.Generator().manual_seed(0)) * 3


def weights_for(rule: str, logits: Tensor) -> Tensor | None:
    """Some weights of the shape that the rule takes."""
    members, _, classes = logits.shape
    if rule == "stacked":
        return torch.randn(members, classes + 1, classes, generator=torch.Generator().manual_seed(1))
    return FITS[rule](logits.float(), logits[0].argmax(1)) if rule in FITS else None


def test_mean_probabilities_worked_number() -> None:
    fused = fuse(members((0.8, 0.2), (0.4, 0.6)), "mean_probabilities")
    torch.testing.assert_close(fused, torch.tensor([[0.6, 0.4]]))


def test_mean_probabilities_softens_each_member_first() -> None:
    fused = fuse(2 * members((0.8, 0.2), (0.4, 0.6)), "mean_probabilities", temperature=2)
    torch.testing.assert_close(fused, torch.tensor([[0.6, 0.4]]))


def test_mean_logits_is_the_geometric_mean() -> None:
    # sqrt(.8 * .2) = .4 against sqrt(.2 * .8): a half each; the other pair gives sqrt(.72) to sqrt(.02), 6 to 1.
    torch.testing.assert_close(fuse(members((0.8, 0.2), (0.2, 0.8)), "mean_logits"), torch.tensor([[0.5, 0.5]]))
    torch.testing.assert_close(fuse(members((0.8, 0.2), (0.9, 0.1)), "mean_logits"), torch.tensor([[6 / 7, 1 / 7]]))
    logits = random_logits()
    geometric = (logits / 2).log_softmax(2).mean(0).exp()
    torch.testing.assert_close(fuse(logits, "mean_logits", temperature=2), geometric / geometric.sum(1, keepdim=True))


def test_weighted_worked_number() -> None:
    logits = 2 * members((0.8, 0.2), (0.4, 0.6))
    fused = fuse(logits, "weighted", temperature=2, weights=torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(fused, torch.tensor([[0.5, 0.5]]))


def test_confidence_worked_number() -> None:
    # In bits, 1 - H is 0.278072 for the first member and 0.029049 for the second.
    fused = fuse(members((0.8, 0.2), (0.6, 0.4)), "confidence")
    first = (0.278072 * 0.8 + 0.029049 * 0.6) / (0.278072 + 0.029049)
    torch.testing.assert_close(fused, torch.tensor([[first, 1 - first]]), atol=1e-5, rtol=0)


def test_confidence_weighs_at_temperature_1_and_per_image() -> None:
    # The temperature softens what is mixed, not the weights; the sure member changes from image to image.
    logits = torch.cat([members((0.5, 0.5), (0.9, 0.1)), members((0.2, 0.8), (0.5, 0.5))], dim=1)
    expected = torch.tensor([[0.75, 0.25], [1 / 3, 2 / 3]])
    torch.testing.assert_close(fuse(logits, "confidence", temperature=2), expected)


def test_confidence_of_members_that_know_nothing_is_equal() -> None:
    torch.testing.assert_close(fuse(torch.zeros(3, 1, 7), "confidence"), torch.full((1, 7), 1 / 7))
    # Logits that differ by a ten-thousandth leave rounding alone in the entropies: it must not become the weights. A
    # low temperature shows them.
    logits = random_logits() * 1e-4
    fused, mean = (fuse(logits, rule, temperature=1e-4) for rule in ("confidence", "mean_probabilities"))
    torch.testing.assert_close(fused, mean)


@pytest.mark.parametrize("rule", VOTING_RULES)
def test_votes_are_one_hot_at_any_temperature(rule: str) -> None:
    logits = random_logits()
    fused = fuse(logits, rule, temperature=7)
    assert torch.equal(fused.argmax(1), vote(logits, rule))
    assert torch.equal(fused.sort(1).values, torch.tensor([0.0, 0, 0, 0, 1]).expand(40, 5))


@pytest.mark.parametrize("rule", SOFTENING_RULES)
def test_a_single_member_speaks_for_itself(rule: str) -> None:
    logits = random_logits(members=1)
    weights = torch.ones(1, 2) if rule == "calibrated" else torch.ones(1)
    fused = fuse(logits, rule, temperature=3, weights=weights)
    torch.testing.assert_close(fused, (logits[0] / 3).softmax(1))


@pytest.mark.parametrize("rule", [*FUSION_RULES, *VOTING_RULES])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_every_rule_returns_distributions_that_survive_as_logits(rule: str, dtype: torch.dtype) -> None:
    logits = random_logits().to(dtype)
    weights = weights_for(rule, logits)
    fused = fuse(logits, rule, temperature=4, weights=weights)
    assert fused.dtype == torch.float32
    assert fused.shape == (40, 5)
    torch.testing.assert_close(fused.sum(1), torch.ones(40))
    back = teacher_logits(logits, rule, temperature=4, weights=weights)
    assert back.dtype == torch.float32
    assert back.isfinite().all()
    torch.testing.assert_close((back / 4).softmax(1), fused)


@pytest.mark.parametrize("rule", FUSION_RULES)
def test_teacher_logits_are_finite_when_probabilities_vanish(rule: str) -> None:
    logits = torch.tensor([[[1e4, 0.0, -1e4]]]).repeat(3, 1, 1)
    assert teacher_logits(logits, rule, temperature=1, weights=weights_for(rule, logits)).isfinite().all()


def test_unknown_rule_names_the_near_match() -> None:
    with pytest.raises(ValueError, match="did you mean 'mean_probabilities'"):
        fuse(random_logits(), "mean_probability")
    with pytest.raises(ValueError, match="did you mean 'symmetric_borda'"):
        teacher_logits(random_logits(), "symetric_borda", temperature=1)


def test_logits_without_members_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \[40, 5\]"):
        fuse(random_logits()[0], "mean_probabilities")
    with pytest.raises(ValueError, match=r"got \[0, 40, 5\]"):
        fuse(random_logits()[:0], "mean_probabilities")


def test_boosted_adds_up_the_weights_of_choices() -> None:
    # A is chosen by weight 3, B by 1 + 1.5; the third class by no member, though all give it much.
    logits = members((0.5, 0.1, 0.4), (0.1, 0.5, 0.4), (0.2, 0.5, 0.3))
    votes = torch.tensor([[3.0, 2.5, 0.0]])
    for temperature in (1.0, 2.0):
        fused = fuse(logits, "boosted", temperature=temperature, weights=torch.tensor([3.0, 1.0, 1.5]))
        torch.testing.assert_close(fused, (votes / temperature).softmax(1), atol=1e-3, rtol=0)


def test_boosted_is_the_posterior_of_even_errors() -> None:
    # Errors .1 and .4 among three classes, choices A and B: the likelihoods are .9 .2, .05 .6 and .05 .2.
    weights = torch.tensor([math.log(9) + math.log(2), math.log(1.5) + math.log(2)])
    fused = fuse(members((0.6, 0.3, 0.1), (0.3, 0.6, 0.1)), "boosted", weights=weights)
    likelihood = torch.tensor([[0.9 * 0.2, 0.05 * 0.6, 0.05 * 0.2]])
    torch.testing.assert_close(fused, likelihood / likelihood.sum(), atol=1e-3, rtol=0)


def test_boosted_ties_go_by_probability() -> None:
    # .1 + .2 and .3 differ in the last bit.
    weights = torch.tensor([0.1, 0.2, 0.3])
    sure_of_a = fuse(members((0.9, 0.1), (0.9, 0.1), (0.4, 0.6)), "boosted", weights=weights)
    sure_of_b = fuse(members((0.6, 0.4), (0.6, 0.4), (0.1, 0.9)), "boosted", weights=weights)
    assert (int(sure_of_a.argmax()), int(sure_of_b.argmax())) == (0, 1)


def test_members_without_weight_leave_boosting_to_their_probabilities() -> None:
    logits = random_logits()
    fused = fuse(logits, "boosted", weights=torch.zeros(3))
    assert torch.equal(fused.argmax(1), fuse(logits, "mean_probabilities").argmax(1))


def test_stacked_is_a_softmax_layer_on_all_logits() -> None:
    # One image, two members, two classes; logits centred to (1, -1) and (-2, 2). By hand: u = (1 + 4 + .5, -1 + 6).
    logits = torch.tensor([[[3.0, 1.0]], [[0.0, 4.0]]])
    layers = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.5, 0.0]], [[0.0, -1.0], [2.0, 2.0], [0.0, 0.0]]])
    for temperature in (1.0, 2.0):
        fused = fuse(logits, "stacked", temperature=temperature, weights=layers)
        torch.testing.assert_close(fused, (torch.tensor([[5.5, 5.0]]) / temperature).softmax(1))


@pytest.mark.parametrize(
    ("rule", "weights", "message"),
    [
        ("weighted", None, "'weighted' needs weights"),
        ("weighted", torch.tensor([0.5, 0.5]), r"3 members but weights of shape \[2\], not \[3\]"),
        ("weighted", torch.tensor([[1.0], [0.0], [0.0]]), r"shape \[3, 1\]"),
        ("weighted", torch.tensor([1.2, -0.1, -0.1]), "must not be negative"),
        ("weighted", torch.tensor([0.5, 0.5, 0.5]), "must sum to 1"),
        ("weighted", torch.tensor([math.nan, 0.5, 0.5]), "must not be negative"),
        ("boosted", None, "'boosted' needs weights"),
        ("boosted", torch.ones(2), r"shape \[2\], not \[3\]"),
        ("boosted", torch.tensor([1.0, -1.0, 1.0]), "must not be negative"),
        ("stacked", None, "'stacked' needs weights"),
        ("stacked", torch.ones(3, 5, 5), r"\[3, 5, 5\], not \[3, 6, 5\]"),
    ],
)
def test_wrong_weights_are_refused(rule: str, weights: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse(random_logits(), rule, weights=weights)
