"""What is fitted on validation for the fusion rules that learn: worked numbers, optima, and what must not break."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, fuse
from knowledge_transfer.learning.ensembles.fusion_weights import (
    FITS,
    boosting_weights,
    calibrated_weights,
    stacking_layers,
    temperatures,
    validation_weights,
)
from tests.learning.ensembles.test_fusion import random_logits


def test_validation_weights_worked_number() -> None:
    # Right-class probabilities .8 .8 .2 and .2 .2 .8: the likelihood (.2 + .6 w)² (.8 - .6 w) peaks at w = 7/9.
    logits = torch.tensor([[[0.8, 0.2], [0.8, 0.2], [0.2, 0.8]], [[0.2, 0.8], [0.2, 0.8], [0.8, 0.2]]]).log()
    weights = validation_weights(logits, torch.tensor([0, 0, 0]))
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, torch.tensor([7 / 9, 2 / 9]), atol=1e-3, rtol=0)


def test_validation_weights_beat_every_other_mixture() -> None:
    logits = random_logits(images=300)
    labels = logits.mean(0).argmax(1)
    logits = torch.cat([logits, torch.randn(2, 300, 5, generator=torch.Generator().manual_seed(1))])
    right = logits.double().softmax(2)[:, torch.arange(300), labels]

    def nll(weights: Tensor) -> Tensor:
        return -(weights.double() @ right).log().mean(-1)

    fitted = validation_weights(logits, labels)
    assert fitted.min() >= 0
    assert fitted.sum().item() == pytest.approx(1)
    assert torch.equal(fitted, validation_weights(logits, labels))
    draws = torch.distributions.Dirichlet(torch.full((5,), 0.5))
    torch.manual_seed(0)
    others = torch.cat([draws.sample((2000,)), torch.eye(5), 0.99 * fitted + 0.01 * torch.eye(5)])
    assert nll(fitted) <= nll(others).min() + 1e-6


def test_validation_weights_leave_out_a_harmful_member() -> None:
    labels = torch.tensor([0, 1, 2, 1])
    good = torch.nn.functional.one_hot(labels, 3) * 5.0
    weights = validation_weights(torch.stack([good, torch.zeros(4, 3)]), labels)
    torch.testing.assert_close(weights, torch.tensor([1.0, 0.0]), atol=1e-4, rtol=0)


def test_validation_weights_survive_images_that_nobody_gets() -> None:
    logits = torch.tensor([[[2000.0, 0.0], [1.0, 0.0]], [[2000.0, 0.0], [0.0, 1.0]]])
    weights = validation_weights(logits, torch.tensor([1, 0]))
    assert weights.isfinite().all()
    assert weights[0] > 0.99


@pytest.mark.parametrize("rule", FITS)
@pytest.mark.parametrize("labels", [torch.zeros(39, dtype=torch.int64), torch.zeros(40, 1, dtype=torch.int64)])
def test_fits_refuse_other_images_labels(rule: str, labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\[3, 40, 5\]"):
        FITS[rule](random_logits(), labels)


def choices(*classes: list[int]) -> Tensor:
    """Logits [M, N, 3] of members that choose these classes."""
    return torch.stack([F.one_hot(torch.tensor(each), 3) * 2.0 for each in classes])


def test_temperature_worked_number() -> None:
    # Two of three images are right, by a margin of 4: the NLL is least where that margin means odds of two to one.
    logits = torch.tensor([[[4.0, 0.0], [4.0, 0.0], [4.0, 0.0]], [[0.4, 0.0], [0.4, 0.0], [0.4, 0.0]]])
    found = temperatures(logits, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(
        found, torch.tensor([4 / math.log(2), 0.4 / math.log(2)]).clamp(max=5), rtol=1e-4, atol=0
    )


def test_temperatures_have_the_least_nll() -> None:
    logits = 3 * random_logits(images=300)
    labels = torch.randint(5, (300,), generator=torch.Generator().manual_seed(3))
    labels[:200] = logits[0, :200].argmax(1)
    for member, best in zip(logits, temperatures(logits, labels), strict=True):
        nll = {float(t): float(F.cross_entropy(member / t, labels)) for t in (best, 0.97 * best, 1.03 * best)}
        assert min(nll, key=nll.__getitem__) == float(best) or best in (0.2, 5)


def test_temperatures_are_bounded_where_no_image_is_wrong() -> None:
    logits, labels = torch.eye(3)[None].repeat(2, 1, 1), torch.tensor([0, 1, 2])
    assert temperatures(logits, labels).tolist() == pytest.approx([0.2, 0.2])
    assert temperatures(-logits, labels).tolist() == pytest.approx([5, 5])


def test_calibrated_fusion_weighs_calibrated_members() -> None:
    logits = 3 * random_logits(images=300)
    labels = logits.mean(0).argmax(1)
    fitted = calibrated_weights(logits, labels)
    share, each = fitted.unbind(1)
    assert torch.equal(each, temperatures(logits, labels))
    assert torch.equal(share, validation_weights(logits / each.view(-1, 1, 1), labels))
    expected = (share.view(-1, 1, 1) * (logits / (2 * each.view(-1, 1, 1))).softmax(2)).sum(0)
    torch.testing.assert_close(fuse(logits, "calibrated", temperature=2, weights=fitted), expected)


def test_boosting_weights_worked_numbers() -> None:
    labels = torch.tensor([0, 1, 2, 0])
    # Wrong on one of four, on two, on three (worse than chance, 2/3), on none: half an image of four.
    weights = boosting_weights(choices([0, 1, 2, 1], [0, 1, 0, 1], [1, 2, 2, 2], [0, 1, 2, 0]), labels)
    expected = [math.log(3) + math.log(2), math.log(2), 0.0, math.log(7) + math.log(2)]
    torch.testing.assert_close(weights, torch.tensor(expected))
    assert boosting_weights(choices([1, 2, 0, 1]), labels).tolist() == [0]


def stacked_case() -> tuple[Tensor, Tensor]:
    """Two members that take every class for the next one, 2,000 images, and the labels."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 3, (2000,), generator=generator)
    return F.one_hot((labels + 1) % 3, 3) * 8 + torch.randn(2, 2000, 3, generator=generator), labels


def test_stacking_learns_what_no_mixture_can() -> None:
    logits, labels = stacked_case()
    layers = stacking_layers(logits, labels)
    assert layers.dtype == torch.float32
    assert layers.shape == (2, 4, 3)
    right = {
        rule: float((fuse(logits, rule, weights=weights).argmax(1) == labels).float().mean())
        for rule, weights in (("stacked", layers), ("weighted", validation_weights(logits, labels)))
    }
    assert right == {"weighted": 0, "stacked": 1}


def test_stacking_layers_are_the_repeatable_optimum() -> None:
    logits, labels = stacked_case()
    layers = stacking_layers(logits, labels)
    assert torch.equal(layers, stacking_layers(logits, labels))
    mean = torch.cat([torch.eye(3), torch.zeros(1, 3)]).double().expand(2, 4, 3) / 2

    def objective(layers: Tensor) -> Tensor:
        inputs = F.pad(logits.double() - logits.double().mean(2, keepdim=True), (0, 1), value=1.0)
        nll = F.cross_entropy(torch.einsum("mbi,mic->bc", inputs, layers), labels)
        return nll + (layers - mean).square().sum() / (2 * 2000 * 0.03**2)

    best = layers.double().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(best), best)
    assert gradient.abs().max() < 1e-5
    assert objective(best) < objective(mean)


def test_stacking_few_images_is_the_mean() -> None:
    logits = random_logits(images=1)
    layers = stacking_layers(logits, torch.tensor([0]))
    torch.testing.assert_close(fuse(logits, "stacked", weights=layers), fuse(logits, "mean_logits"), atol=0.05, rtol=0)
    # Two equal members get equal weights.
    twice = stacking_layers(logits[:1].repeat(2, 1, 1), torch.tensor([0]))
    torch.testing.assert_close(twice[0], twice[1])


def test_stacking_ignores_shifts_of_logits() -> None:
    logits, labels = stacked_case()
    shifted = logits + torch.randn(2, 2000, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stacking_layers(shifted, labels), stacking_layers(logits, labels), atol=1e-4, rtol=0)


def test_logits_of_predict_can_be_fitted() -> None:
    # `predict` returns tensors of inference mode, which take part in no gradient.
    with torch.inference_mode():
        logits = random_logits().double()
    for fit in FITS.values():
        assert fit(logits, torch.zeros(40, dtype=torch.int64)).isfinite().all()


def test_what_is_fitted_is_a_rule() -> None:
    assert set(FITS) < set(FUSION_RULES)
