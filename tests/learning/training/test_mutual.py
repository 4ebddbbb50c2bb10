"""Mutual learning: its loss, and fits that learn from each other."""

import math

import pytest
import torch
import torch.nn.functional as F

from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.training.loop import fit
from knowledge_transfer.learning.training.mutual import fit_mutually, mutual_loss
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions
from tests import models
from tests.conftest import two_domains

CPU = torch.device("cpu")
QUICK = Recipe(epochs=2, batch_size=20, learning_rate=0.05, precision="fp32")


def networks(images, count=2):
    shape = {"classes": len(images.class_names), "channels": images.images.shape[1]}
    return [models.network("resnet8", 0.5, seed=seed, **shape) for seed in range(count)]


def options(count=2):
    return [FitOptions(f"network {number}", number, CPU, view_seed=3) for number in range(count)]


def test_the_loss_is_its_worked_number():
    # p = (1/2, 1/2); the others have (3/4, 1/4) and (1/4, 3/4), each log 2 less its entropy away.
    logits, others = torch.zeros(1, 2, requires_grad=True), torch.tensor([[[3.0, 1.0]], [[1.0, 3.0]]]).log()
    others.requires_grad_()
    loss = mutual_loss(logits, others)
    assert loss.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    loss.backward()
    assert others.grad is None or not others.grad.any()


def test_the_first_loss_is_the_labels_and_the_mean_divergence(images):
    one_step = QUICK.override({"epochs": 1, "batch_size": len(images)})
    fits = fit_mutually(networks(images, 3), images, [one_step] * 3, options(3), images)
    with torch.no_grad():
        logits = torch.stack([network.train()(images.images) for network in networks(images, 3)])
    p = logits.softmax(2)
    for number, fitted in enumerate(fits):
        others = [(p[j] * (p[j] / p[number]).log()).sum(1).mean() for j in range(3) if j != number]
        expected = F.cross_entropy(logits[number], images.labels) + sum(others) / 2
        assert fitted.history[0].loss == pytest.approx(float(expected), rel=1e-4)


def test_each_learns(images):
    fits = fit_mutually(networks(images), images, [QUICK.override({"epochs": 6})] * 2, options(), images)
    assert all(fitted.history[-1].validation_accuracy > 0.9 for fitted in fits)
    one, other = (fitted.state for fitted in fits)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_equal_networks_have_nothing_to_teach_each_other(images):
    """Networks that begin alike stay alike, and learn what one alone learns from labels."""
    alike = [models.network("resnet8", 0.5, classes=3, channels=images.images.shape[1]) for _ in range(3)]
    *together, alone = alike
    fits = fit_mutually(together, images, [QUICK] * 2, [options()[0]] * 2, images)
    single = fit(alone, images, QUICK, options()[0], images)
    for fitted in fits:
        assert all(torch.allclose(fitted.state[name], single.state[name], atol=1e-5) for name in single.state)


@pytest.mark.parametrize("change", [{"epochs": 3}, {"batch_size": 10}, {"views": 1}, {"augmentation": {"crop": 2}}])
def test_recipes_must_agree(images, change):
    with pytest.raises(ValueError, match="the same epochs, batch size, views and augmentation"):
        fit_mutually(networks(images), images, [QUICK, QUICK.override(change)], options(), images)


def test_one_network_or_a_mix_is_refused(images):
    with pytest.raises(ValueError, match="two networks or more of one domain"):
        fit_mutually(networks(images, 1), images, [QUICK], options(1), images)
    mixed = mix(two_domains())
    with pytest.raises(ValueError, match="two networks or more of one domain"):
        fit_mutually(networks(mixed), mixed, [QUICK] * 2, options(), mixed)
