import math

import pytest
import torch

from knowledge_transfer.learning.ensembles.boosting import boost, reweighted
from knowledge_transfer.learning.ensembles.fusion_weights import member_weight
from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.losses.objective import DistillationObjective
from knowledge_transfer.learning.losses.soft_loss import per_image
from knowledge_transfer.learning.training.recipe import Recipe
from tests.learning.training.test_trainer import QUICK, same, train


def test_the_weight_of_a_member_by_hand():
    """log(0.8 / 0.2) + log(9) = log 36."""
    assert member_weight(0.2, 10, 1000) == pytest.approx(math.log(36))
    assert member_weight(0.9, 10, 1000) == pytest.approx(0)
    assert member_weight(0.95, 10, 1000) == 0
    assert member_weight(0.5, 2, 1000) == pytest.approx(0), "with two classes it is AdaBoost"
    assert member_weight(0, 10, 100) == pytest.approx(math.log(199 * 9)), "half an image of a hundred"


def test_the_weights_of_the_images_by_hand():
    """Four images, the last wrong, weight log 3: 1, 1, 1, 3 scaled to a mean of 1."""
    after = reweighted(torch.ones(4), torch.tensor([False, False, False, True]), math.log(3))
    assert after.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


def test_a_course_by_hand():
    """Of four images the last is wrong, e = 1/4; then the first two, whose weights are 4/9 of 4, e = 2/9."""
    labels = torch.tensor([0, 1, 2, 0])
    predictions = [torch.tensor([0, 1, 2, 1]), torch.tensor([1, 0, 2, 0]), torch.tensor([0, 1, 2, 0])]
    given = []

    def train(number, weights):
        given.append(weights)
        return number

    boosted = boost(3, labels, 3, train, lambda number: predictions[number])
    assert boosted.errors == pytest.approx([1 / 4, 2 / 9, 0])
    assert boosted.weights == pytest.approx([math.log(3 * 2), math.log(7 / 2 * 2), math.log(7 * 2)])
    assert given[0] is None, "all alike: the very bits of a fit without weights"
    assert given[1].tolist() == pytest.approx([4 / 9, 4 / 9, 4 / 9, 24 / 9])
    assert given[2].tolist() == pytest.approx([28 / 21, 28 / 21, 4 / 21, 24 / 21])


def test_a_guess_weighs_nothing_and_resets_images():
    labels = torch.tensor([0, 1, 2])
    given = []
    boosted = boost(2, labels, 3, lambda _, weights: given.append(weights), lambda _: torch.tensor([0, 0, 0]))
    assert boosted.weights == [0, 0]
    assert given == [None, None]


def weighted(images, weights, objective=None, recipe=QUICK):
    return train(images, recipe, distillation=objective, image_weights=weights).state


def objective(loss="kl", alpha=0.5):
    return DistillationObjective(
        torch.randn(60, 2, 3, generator=torch.Generator().manual_seed(0)),
        losses.resolve(loss, {"temperature": 2.0}),
        alpha,
        view_seed=7,
    )


def test_equal_weights_change_nothing_but_rounding(images):
    """Of one step, for later ones make more of the rounding."""
    recipe = Recipe(epochs=1, batch_size=60, learning_rate=0.01, precision="fp32")
    for taught in (None, objective()):
        plain, alike = (weighted(images, weights, taught, recipe) for weights in (None, torch.ones(60)))
        for name in plain:
            torch.testing.assert_close(plain[name], alike[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_images_without_weight_are_not_learned(images, alpha):
    """Neither its label nor its soft labels influence the weights."""
    weights = torch.ones(60)
    weights[::2] = 0
    relabelled = type(images)(images.images, images.labels.clone(), images.class_names)
    relabelled.labels[::2] = 0
    one, other = objective(alpha=alpha), objective(alpha=alpha)
    other.teacher_logits[::2] *= -3
    assert same(weighted(images, weights, one), weighted(relabelled, weights, other))
    assert not same(weighted(images, weights, one), weighted(images, None, one))


@pytest.mark.parametrize("name", [name for name, loss in losses.SOFT_LOSSES.items() if not loss.compares_images])
def test_losses_per_image_average_to_the_batch(name):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 8, 5, generator=generator)
    labels, loss = torch.arange(8) % 5, losses.resolve(name, {"temperature": 3.0})
    each = per_image(loss, student, teacher, labels)
    assert each.shape == (8,)
    torch.testing.assert_close(each.mean(), loss(student, teacher, labels))
    torch.testing.assert_close(each[3], loss(student[3:4], teacher[3:4], labels[3:4]))


def test_what_cannot_be_weighted_is_refused(images):
    with pytest.raises(ValueError, match="'dist' compares the images of a batch"):
        weighted(images, torch.ones(60), objective("dist"))
    for weights in (torch.ones(59), -torch.ones(60), torch.full((60,), torch.nan)):
        with pytest.raises(ValueError, match="60 images need as many weights"):
            weighted(images, weights)
