"""Several devices, here processes on the CPU, compute what one computes; when one ends, all end.

The networks are of float64, in which rounding stays small: in float32 a change of the weights by 1e-6 grows within a
few epochs to a visible difference.
"""

import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.distributed import launcher, process
from knowledge_transfer.learning.distributed.worker import Failure, RankKilledError, distance_to_cause
from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.losses.objective import DistillationObjective
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training import events
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.resume import snapshot_to
from knowledge_transfer.learning.training.sharding import Shard
from knowledge_transfer.learning.training.trainer import FitOptions, TrainingDivergedError
from tests import models
from tests.conftest import two_domains

RECIPE = Recipe(
    epochs=3, batch_size=20, learning_rate=0.02, ema=0.8, keep="best", gradient_clip=1.0, precision="fp32",
    augmentation={"crop": 3, "mixup": 0.5},
)  # fmt: skip
HOW = {"seed": 0, "device": torch.device("cpu"), "name": "vgg19"}


class StopListeningError(Exception):
    """What a listener raises that has received enough."""


@dataclass
class File:
    """A store that other processes find, too."""

    path: Path

    def read(self):
        return self.path.read_bytes() if self.path.exists() else None

    def write(self, content):
        beside = self.path.with_suffix(".new")
        beside.write_bytes(content)
        beside.replace(self.path)


@pytest.fixture(scope="module", autouse=True)
def ranks_that_warn_fail():
    """Processes of these tests alone come from a server that takes warnings for errors."""
    process.forkserver._forkserver._stop()
    with process.changed_environment(PYTHONWARNINGS="error"):
        yield
    process.forkserver._forkserver._stop()


@pytest.fixture(autouse=True)
def no_process_is_left():
    yield
    assert multiprocessing.active_children() == []


def network(images, kind="resnet8"):
    return models.network(kind, classes=len(images.class_names), channels=images.images.shape[1]).double()


def train(images, recipe=RECIPE, *, replicas=1, kind="resnet8", objective=None, receive=lambda event: None):
    """Return the fitted network and the events, each received by `receive`, too."""
    received = []
    listeners = (received.append, receive)
    for listener in listeners:
        events.subscribe(listener)
    try:
        options = FitOptions(**HOW, distillation=objective)
        return launcher.fit(
            network(images, kind), images, recipe, options, validation=images, replicas=replicas
        ), received
    finally:
        for listener in listeners:
            events.unsubscribe(listener)


def objective_of(images, loss, **options):
    teacher = torch.randn(len(images), 3, len(images.class_names), generator=torch.Generator().manual_seed(0))
    return DistillationObjective(3 * teacher, losses.resolve(loss, {"temperature": 2.0}), 0.7, view_seed=7, **options)


def assert_same(one, other, tolerance=1e-6):
    assert one.state.keys() == other.state.keys()
    for name in one.state:
        torch.testing.assert_close(one.state[name], other.state[name], rtol=tolerance, atol=tolerance, msg=name)
    for row, again in zip(one.history, other.history, strict=True):
        for name in ("epoch", "accuracy", "validation_accuracy", "learning_rate"):
            assert getattr(again, name) == getattr(row, name)
        assert again.loss == pytest.approx(row.loss, rel=1e-5)
        assert again.validation_loss == pytest.approx(row.validation_loss, rel=1e-5)
    assert one.kept_epoch == other.kept_epoch


def test_two_devices_learn_what_one_learns(images):
    """With dropout, a moving average of the weights and the best epoch; reported as it happens, and in order."""
    alone, reported = train(images, kind="squeezenet")
    together, events_again = train(images, kind="squeezenet", replicas=2)
    assert_same(alone, together)
    assert [type(event) for event in reported] == [type(event) for event in events_again]
    assert events_again[0] == reported[0]
    assert events_again[1:] == together.history


@pytest.mark.slow
def test_two_devices_with_muon_learn_the_same(images):
    recipe = RECIPE.override({"optimizer": "muon", "learning_rate": 0.005})
    (alone, _), (together, _) = train(images, recipe), train(images, recipe, replicas=2)
    # Its matrices are of bfloat16, whose rounding hardly ever turns on the last digit of a sum over ranks.
    assert_same(alone, together, tolerance=1e-4)


@pytest.mark.slow
def test_three_devices_compute_a_loss_over_whole_batches():
    """Shares of 7, 7 and 6 images; `dist` correlates over the batch, within each domain, and domains are uneven."""
    mixed = mix(two_domains())
    objective = objective_of(mixed, "dist", gamma=0.5)
    recipe = RECIPE.override({"optimizer": "adamw", "learning_rate": 0.001, "ema": None, "keep": "last"})
    assert_same(
        *(train(mixed, recipe, replicas=replicas, objective=objective)[0] for replicas in (1, 3)), tolerance=1e-5
    )


@pytest.mark.slow
def test_float32_losses_agree_within_a_thousandth(images, monkeypatch):
    started, start = [], process.start
    monkeypatch.setattr(process, "start", lambda *what, name: started.append(name) or start(*what, name=name))
    recipe = RECIPE.override({"learning_rate": 0.005})
    data = FitData(images, images, Normalisation(mean=(0.5,), deviation=(0.3,)))
    architecture = Architecture(kind="resnet8", width=0.5)
    alone, together = (
        learn("vgg19", architecture, data, recipe, LearnOptions(0, HOW["device"], replicas=replicas))
        for replicas in (1, 2)
    )
    assert together.state.keys() == alone.state.keys()
    assert [row["loss"] for row in together.curve] == pytest.approx([row["loss"] for row in alone.curve], rel=1e-3)
    assert together.build().state_dict().keys() == alone.state.keys()
    assert started == ["rank 0 of vgg19", "rank 1 of vgg19"]


@pytest.mark.slow
def test_two_devices_resume_to_the_same_result(images, tmp_path):
    def enough(event):
        if isinstance(event, events.EpochEnded) and event.epoch == 2:
            raise StopListeningError

    objective, store = objective_of(images, "kl"), File(tmp_path / "snapshot")
    with snapshot_to(store, every=0):
        with pytest.raises(StopListeningError):
            train(images, replicas=2, objective=objective, receive=enough)
        assert multiprocessing.active_children() == []
        together, reported = train(images, replicas=2, objective=objective)
    assert isinstance(reported[1], events.FitResumed)
    assert_same(train(images, objective=objective)[0], together)


def test_an_error_of_a_rank_keeps_its_type(images):
    objective = objective_of(images, "kl")
    objective.teacher_logits.fill_(torch.nan)
    with pytest.raises(TrainingDivergedError, match="vgg19: the loss is nan at epoch 1, step 1") as raised:
        train(images, replicas=2, objective=objective)
    assert str(raised.value.__cause__).startswith("in rank ")
    assert "require_finite" in str(raised.value.__cause__)


def test_a_killed_rank_is_named(images):
    def kill(event):
        if isinstance(event, events.EpochEnded):
            (victim,) = (child for child in multiprocessing.active_children() if child.name == "rank 2 of vgg19")
            os.kill(victim.pid, signal.SIGKILL)

    with pytest.raises(RankKilledError, match=r"^rank 2 of vgg19 was killed by SIGKILL$"):
        train(images, RECIPE.override({"epochs": 100}), replicas=3, receive=kill)


def test_the_cause_is_reported_in_any_order():
    lost = Failure(RuntimeError("Connection closed by peer"), "", at=1.0)
    killed = Failure(RuntimeError("rank 2 was killed by SIGKILL"), "", at=2.0, exitcode=-signal.SIGKILL)
    aborted = Failure(RuntimeError("rank 0 was killed by SIGABRT"), "", at=2.0, exitcode=-signal.SIGABRT)
    diverged = [Failure(TrainingDivergedError("a"), "", at=at) for at in (3.0, 4.0)]
    received = [aborted, lost, killed, *reversed(diverged)]
    assert sorted(received, key=distance_to_cause) == [*diverged, killed, lost, aborted]


@pytest.mark.parametrize(
    ("replicas", "device", "batch", "words"),
    [
        (0, "cpu", 20, "replicas is 0"),
        (21, "cpu", 20, "a batch of 20 images cannot be divided among 21 replicas"),
        (61, "cpu", 128, "a batch of 60 images"),
        (2, "mps", 20, "2 replicas need CUDA devices or the CPU, not mps"),
        (2, "cuda:2", 20, "2 replicas compute on cuda:0 and on, not from cuda:2"),
        (9, "cuda", 20, "9 replicas need as many GPUs, here are"),
    ],
)
def test_impossible_replicas_are_refused_before_any_start(images, monkeypatch, replicas, device, batch, words):
    monkeypatch.setattr(process, "start", None)
    options = FitOptions(**{**HOW, "device": torch.device(device)})
    recipe = RECIPE.override({"batch_size": batch})
    with pytest.raises(ValueError, match=words):
        launcher.fit(network(images), images, recipe, options, validation=images, replicas=replicas)


@pytest.mark.parametrize(("size", "ranks", "sizes"), [(20, 3, [6, 7, 7]), (2, 2, [1, 1]), (5, 1, [5])])
def test_shards_are_consecutive_and_none_is_empty(size, ranks, sizes):
    rows = [Shard(rank, ranks).rows(size) for rank in range(ranks)]
    assert [len(range(size)[each]) for each in rows] == sizes
    assert [index for each in rows for index in range(size)[each]] == list(range(size))
