"""An interrupted fit ends with the same bits; a snapshot of another fit, or a damaged one, is ignored."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.losses.objective import DistillationObjective
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.loop import fit
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.resume import snapshot_to
from knowledge_transfer.learning.training.trainer import FitOptions
from tests import models
from tests.conftest import stripes

CPU = torch.device("cpu")
RECIPE = Recipe(
    epochs=4, batch_size=20, learning_rate=0.05, ema=0.8, keep="best", precision="fp32",
    augmentation={"crop": 3, "mixup": 0.5},
)  # fmt: skip
OBJECTIVE = DistillationObjective(
    torch.randn(60, 4, 3, generator=torch.Generator().manual_seed(0)),
    losses.resolve("kl", {"temperature": 2.0}),
    0.5,
    view_seed=7,
)


class Memory:
    """A store that remembers, and counts what is written."""

    def __init__(self, content=None):
        self.content, self.written = content, 0

    def read(self):
        return self.content

    def write(self, content):
        self.content, self.written = content, self.written + 1


class KilledError(Exception):
    """What ends the process, for a test that wants to live on."""


def train(images, recipe=RECIPE, *, store=None, stop_in=None, every=0.0, initial=0, **how):
    """Return the fitted network and the events; `stop_in` the epoch whose end is not survived."""
    received = []

    def receive(event):
        received.append(event)
        if isinstance(event, events.EpochEnded) and event.epoch == stop_in:
            raise KilledError

    network = models.network("squeezenet", classes=len(images.class_names), seed=initial)  # it draws dropout
    validation = how.pop("validation", images)
    options = FitOptions(**{"name": "a", "seed": 0, "device": CPU, "distillation": OBJECTIVE, **how})
    events.subscribe(receive)
    try:
        with snapshot_to(store, every=every) if store else nullcontext():
            return fit(network, images, recipe, options, validation=validation), received
    finally:
        events.unsubscribe(receive)


def interrupted(images, recipe=RECIPE, *, epoch=3, **how):
    store = Memory()
    with pytest.raises(KilledError):
        train(images, recipe, store=store, stop_in=epoch, **how)
    assert store.content is not None
    return store


def starts_again(images, content, **how):
    """Return whether a fit that finds `content` in its store begins with the first epoch; it is not awaited."""
    try:
        train(images, store=Memory(content), stop_in=1, **how)
    except KilledError:
        return True
    return False


def curve(history):
    return [replace(row, images_per_second=0, seconds_left=0) for row in history]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"keep": "last"},
        {"optimizer": "adamw", "learning_rate": 0.002, "schedule": "cosine", "gradient_clip": 1.0},
        {"ema": None, "views": 2},
        {"optimizer": "muon", "learning_rate": 0.005},
        {"window": 40, "augmentation": {"mixup": 0}},
    ],
)
def test_an_interrupted_fit_ends_with_the_same_bits(images, changes):
    recipe = RECIPE.override(changes)
    whole, _ = train(images, recipe)
    store = interrupted(images, recipe)
    again, received = train(images, recipe, store=store)
    assert [type(event).__name__ for event in received] == ["FitStarted", "FitResumed", "EpochEnded", "EpochEnded"]
    assert received[1] == events.FitResumed("a", 2)
    assert curve(again.history) == curve(whole.history)
    assert again.metrics == whole.metrics
    assert again.state.keys() == whole.state.keys()
    assert all(torch.equal(again.state[name], whole.state[name]) for name in whole.state)
    assert store.content is not None, "it stays until the result is safe"


def test_the_best_epoch_before_the_interruption_stays_best(images):
    """At this rate an early epoch is better than the last, so the kept weights come from the snapshot."""
    recipe = RECIPE.override({"schedule": "constant", "learning_rate": 3.0, "ema": None, "warmup": 0})
    whole, _ = train(images, recipe)
    assert whole.kept_epoch < 2
    again, _ = train(images, recipe, store=interrupted(images, recipe, epoch=4))
    assert again.kept_epoch == whole.kept_epoch
    assert all(torch.equal(again.state[name], whole.state[name]) for name in whole.state)


def test_a_fit_can_be_interrupted_again(images):
    store = interrupted(images, epoch=2)
    with pytest.raises(KilledError):
        train(images, store=store, stop_in=4)
    again, received = train(images, store=store)
    assert received[1] == events.FitResumed("a", 3)
    assert curve(again.history) == curve(train(images)[0].history)


OTHERS = {
    "recipe": {"recipe": RECIPE.override({"learning_rate": 0.04})},
    "seed": {"seed": 1},
    "name": {"name": "b"},
    "initial weights": {"initial": 1},
    "validation": {"validation": stripes(30, seed=1)},
    "no objective": {"distillation": None},
    "teacher": {"distillation": replace(OBJECTIVE, teacher_logits=OBJECTIVE.teacher_logits + 1)},
    "temperature": {"distillation": replace(OBJECTIVE, soft_loss=losses.resolve("kl", {"temperature": 3.0}))},
    "loss": {"distillation": replace(OBJECTIVE, soft_loss=losses.resolve("mse", {"temperature": 2.0}))},
    "alpha": {"distillation": replace(OBJECTIVE, alpha=0.6)},
    "gamma": {"distillation": replace(OBJECTIVE, gamma=0.6)},
    "views": {"distillation": replace(OBJECTIVE, view_seed=8)},
    "images": {"images": stripes(60, seed=1), "validation": stripes(60)},
}


@pytest.fixture(scope="module")
def snapshot():
    return interrupted(stripes(60), epoch=2).content


@pytest.mark.parametrize("other", OTHERS)
def test_another_fit_starts_again(images, snapshot, other):
    assert starts_again(**{"images": images, "content": snapshot, **OTHERS[other]})


def flip(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"not a snapshot",
        lambda content: content[: len(content) // 2],
        lambda content: content + b"\0",
        lambda content: flip(content, 5),
        lambda content: flip(content, len(content) // 2),
    ],
    ids=["empty", "text", "half", "longer", "digest", "one bit"],
)
def test_a_damaged_snapshot_is_ignored(images, snapshot, damage):
    assert starts_again(images, damage(snapshot))
    assert not starts_again(images, snapshot)


@pytest.mark.parametrize(("every", "written"), [(0.0, 3), (1e9, 0)])
def test_snapshots_keep_their_interval(images, every, written):
    store = Memory()
    train(images, store=store, every=every)
    assert store.written == written


def test_a_failing_store_does_not_stop_the_fit(images, caplog):
    class Full(Memory):
        def write(self, content):
            raise OSError("no space left on device")

    fitted, _ = train(images, store=Full())
    assert curve(fitted.history) == curve(train(images)[0].history)
    reported = [record.message for record in caplog.records if "snapshot" in record.message]
    assert reported == ["no snapshot can be saved (no space left on device): an interrupted fit will start again"]


def test_the_time_left_counts_this_process_alone(images, snapshot, monkeypatch):
    """Each look at the clock is a second later; epoch 1 was another process's, epoch 2 took three looks."""
    clock = iter(range(1000))
    monkeypatch.setattr("knowledge_transfer.learning.training.loop.time.perf_counter", lambda: float(next(clock)))
    _, received = train(images, store=Memory(snapshot))
    assert received[2].epoch == 2
    assert received[2].seconds_left == 3 * 2


def test_without_a_store_nothing_is_computed_for_snapshots(images, monkeypatch):
    called = []
    monkeypatch.setattr("knowledge_transfer.learning.training.loop.identity", lambda *_: called.append(1) or "")
    train(images, RECIPE.override({"epochs": 1}))
    assert not called
    train(images, RECIPE.override({"epochs": 1}), store=Memory())
    assert called
