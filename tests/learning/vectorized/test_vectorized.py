"""Stacked members are those that a loop trains, up to rounding."""

import pytest
import torch

from knowledge_transfer.learning.distillation.config import Distillation, DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import TrainingDivergedError
from knowledge_transfer.learning.vectorized.members import learn_members
from knowledge_transfer.learning.vectorized.network import Stacked, can_stack, is_faster
from tests.conftest import stripes

CPU = torch.device("cpu")
NORMALISATION = Normalisation(mean=(0.5,), deviation=(0.3,))
SEEDS = {"one": 3, "two": 4, "three": 5}
MEMBERS = {name: LearnOptions(seed, CPU, view_seed=9) for name, seed in SEEDS.items()}
QUICK = Recipe(epochs=2, batch_size=20, learning_rate=0.02, precision="fp32")
TEMPERATURES = {"kl": 4.0, "soft_cross_entropy": 4.0, "mse": 1.0, "dkd": 4.0, "dist": 1.0}


def tiny(kernel=3, normalise=True, hidden=(8,)):
    layers = {"convolutions": [[3], [4]], "kernel": kernel, "hidden": hidden, "normalise": normalise}
    return Architecture(kind="cnn", layers=layers)


def members(images, recipe=QUICK, architecture=None, *, stack, options=MEMBERS, normalisation=NORMALISATION, **how):
    data = FitData(images, images, normalisation)
    return learn_members("cell", options, architecture or tiny(), data, recipe, stack=stack, **how)


def both(*given, **how):
    return (members(*given, stack=stack, **how) for stack in (True, False))


def assert_alike(stacked, loop, tolerance=2e-4):
    """Float32 sums in another order: after six steps weights differ by less than 1e-4 of their size of about 1."""
    for one, other in zip(stacked, loop, strict=True):
        assert one.facts.name == other.facts.name
        assert one.facts.model_dump(exclude={"sha256", "metrics"}) == other.facts.model_dump(
            exclude={"sha256", "metrics"}
        )
        for name, weights in other.state.items():
            torch.testing.assert_close(one.state[name], weights, atol=tolerance, rtol=tolerance, msg=name)
        curve, own = ([row["loss"] for row in each.curve] for each in (one, other))
        assert curve == pytest.approx(own, abs=1e-3)
        assert [row["epoch"] for row in one.curve] == [row["epoch"] for row in other.curve]


@pytest.mark.parametrize("kernel", [3, 4])
@pytest.mark.parametrize("normalise", [True, False])
def test_stacked_members_equal_those_of_a_loop(images, kernel, normalise):
    assert_alike(*both(images, architecture=tiny(kernel, normalise)))


@pytest.mark.parametrize(
    "changes",
    [
        {"augmentation": {"crop": 3, "flip": True, "mixup": 0.5}},
        {"ema": 0.9},
        {"gradient_clip": 0.05},
        {"optimizer": "adamw", "learning_rate": 0.001},
        {"keep": "best", "label_smoothing": 0.1},
        {"views": 1, "schedule": "cosine", "nesterov": False},
    ],
)
def test_every_setting_acts_on_each_network_alone(images, changes):
    assert_alike(*both(images, QUICK.override(changes)))


def test_views_of_their_own(images):
    own = {name: LearnOptions(seed, CPU) for name, seed in SEEDS.items()}
    assert_alike(*both(images, QUICK.override({"augmentation": {"crop": 3}}), options=own))


@pytest.mark.parametrize("loss", TEMPERATURES)
def test_each_network_learns_from_its_own_batch(images, loss):
    """`dist` compares the images of a batch: it must not see those of another member."""
    teacher = learn("teacher", tiny(), FitData(images, images, NORMALISATION), QUICK, LearnOptions(seed=1, device=CPU))
    recipe = QUICK.override({"views": 1})
    labels = label([teacher], images, views=1, view_seed=9, augmentation=recipe.augmentation, device=CPU)
    config = DistillationConfig(alpha=0.7, temperature=TEMPERATURES[loss], loss=loss)
    assert_alike(*both(images, recipe, distillation=Distillation(labels, config)))


def test_every_member_has_memory_of_its_own(images):
    """What shares memory cannot be saved in one file."""
    stacked, _ = both(images)
    places = [tensor.data_ptr() for checkpoint in stacked for tensor in checkpoint.state.values()]
    assert len(set(places)) == len(places)


def test_coloured_images(images):
    coloured = stripes(40, channels=3)
    normalisation = Normalisation(mean=(0.5, 0.4, 0.3), deviation=(0.3, 0.2, 0.1))
    assert_alike(*both(coloured, normalisation=normalisation))


def test_members_are_reported_as_one_fit(images):
    received = []
    events.subscribe(received.append)
    for stacked in (True, False):
        received.clear()
        members(images, stack=stacked)
        assert {event.model for event in received} == {"cell"}
        epochs = 2 if stacked else 6
        assert [event.epoch for event in received[1:]] == list(range(1, epochs + 1))
        assert {event.epochs for event in received} == {epochs}
    events.unsubscribe(received.append)


def test_divergence_names_the_member(images):
    with pytest.raises(TrainingDivergedError, match=r"one: the loss is .* at epoch 1"):
        members(images, QUICK.override({"learning_rate": 1e30}), tiny(normalise=False), stack=True)


def test_members_are_stacked_where_that_is_faster(images):
    wide = Architecture(kind="cnn", layers={"convolutions": [[4], [8]], "hidden": [8]})
    gpu = torch.device("cuda")
    assert is_faster(tiny(), images, 6, CPU)
    assert not is_faster(tiny(), images, 3, CPU)
    assert not is_faster(wide, images, 24, CPU)
    assert is_faster(wide, images, 2, gpu)
    assert not is_faster(wide, images, 1, gpu)
    assert not is_faster(Architecture(kind="resnet8"), images, 24, gpu)


def test_what_cannot_be_stacked_is_not(images):
    assert can_stack(tiny(), images)
    assert not can_stack(Architecture(kind="resnet8"), images)
    assert not can_stack(tiny().model_copy(update={"heads": 2}), images)
    with pytest.raises(ValueError, match="cannot be stacked"):
        Stacked([type("", (), {"body": torch.nn.Sequential(torch.nn.Tanh()), "mean": torch.ones(1, 1, 1, 1),
                               "deviation": torch.ones(1, 1, 1, 1)})])  # fmt: skip
