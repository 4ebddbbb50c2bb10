import pytest
from pydantic import ValidationError

from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.training.recipe import Recipe


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lerning_rate": 0.1}, "unknown key 'lerning_rate'; did you mean 'learning_rate'"),
        ({"learning_rate": float("inf")}, "finite"),
        ({"learning_rate": True}, "'learning_rate' is a number, got true"),
        ({"gradient_clip": True}, "'gradient_clip' is a number, got true"),
        ({"learning_rate": -1}, "greater than 0"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"schedule": "step"}, "linear"),
        ({"augmentation": {"flop": True}}, "unknown key 'flop'; did you mean 'flip'"),
        ({"augmentation": {"mixup": 0.2, "cutmix": 0.2}}, "cannot be combined"),
    ],
)
def test_bad_recipes_are_refused_by_name(settings, message):
    with pytest.raises(ValidationError, match=message):
        Recipe(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 1.5}, "less than or equal to 1"),
        ({"loss": "lk"}, "unknown loss 'lk'; did you mean 'kl'"),
        ({"fusion": "mean_probability"}, "did you mean 'mean_probabilities'"),
        ({"loss_options": {"beta": 8.0}}, "takes no option 'beta'"),
        ({"loss_options": {"temperature": 1.0}}, "the temperature is distillation.temperature"),
        ({"loss": "mse", "fusion": "borda"}, "which the vote 'borda' lacks"),
        ({"loss": "dkd", "alpha": 1}, "reads the labels, alpha 1 withholds them"),
    ],
)
def test_bad_distillation_is_refused_by_name(settings, message):
    with pytest.raises(ValidationError, match=message):
        DistillationConfig(**settings)


def test_override_changes_single_knobs_and_checks_them():
    recipe = Recipe(epochs=3, augmentation=Augmentation(crop=4, flip=True))
    changed = recipe.override({"learning_rate": 0.5, "augmentation": {"flip": False}})
    assert (changed.epochs, changed.learning_rate, changed.augmentation.crop) == (3, 0.5, 4)
    assert not changed.augmentation.flip
    with pytest.raises(ValidationError, match="did you mean 'epochs'"):
        recipe.override({"epoch": 3})


def test_views_default_to_one_an_epoch():
    assert Recipe(epochs=7).view_count == 7
    assert Recipe(epochs=7, views=2).view_count == 2


def test_few_images_are_given_the_epochs_that_make_the_least_steps():
    recipe = Recipe(epochs=3, batch_size=10, min_steps=25)
    assert recipe.for_images(100, has_soft_labels=False) is recipe
    assert recipe.for_images(49, has_soft_labels=False).epochs == 7  # of four whole batches
    assert recipe.for_images(5, has_soft_labels=False).epochs == 25
    # Teachers have labelled the three views of three epochs.
    assert recipe.for_images(49, has_soft_labels=True).view_count == 3
    assert recipe.for_images(49, has_soft_labels=False).view_count == 7
