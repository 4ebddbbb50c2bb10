"""Benchmarks run at the smallest size: the form of what they give, never how long it takes."""

import argparse
import importlib.util
import math

import pytest
import torch

from benchmarks.common import ALPHA, TEMPERATURE
from benchmarks.peers import __main__ as command
from benchmarks.peers import stored_labels, tutorial
from benchmarks.peers.one import SIDES, missing, run
from benchmarks.peers.store import prepare, read_images
from benchmarks.peers.tables import header, seconds_to, tables, with_labelling
from benchmarks.peers.task import Task
from benchmarks.usual import MeanOfProbabilities
from knowledge_transfer.learning.ensembles import fusion
from knowledge_transfer.learning.losses import distillation as losses

PEERS = [side for side, (_, package) in SIDES.items() if package is not None]
WIDTH = 1 / 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    prepare(folder, ["vgg19"], images=16, width=WIDTH, epochs=1, device=torch.device("cpu"))
    return folder


def task_in(folder, seed=0):
    return Task(
        pair="vgg19-simple_cnn",
        folder=folder,
        seed=seed,
        epochs=2,
        batch=8,
        rate=0.002,
        width=WIDTH,
        workers=0,
        device_name="cpu",
        views=1,
    )


def result_of(side, folder, seed=0):
    if told := missing(side):
        pytest.skip(told)
    return run(side, task_in(folder, seed))


@pytest.mark.parametrize("side", ["tutorial", "ours"])
def test_every_epoch_has_its_seconds_and_its_accuracy(side, folder):
    result = result_of(side, folder)
    assert len(result["epoch_seconds"]) == len(result["seconds"]) == len(result["accuracies"]) == 2
    assert result["seconds"][-1] == pytest.approx(result["labelling_seconds"] + sum(result["epoch_seconds"]))
    assert (result["labelling_seconds"] > 0) == (side == "ours")
    assert 0 <= result["accuracy"] == result["accuracies"][-1] <= 1
    assert min(result["images_per_second"], result["memory"]) > 0
    assert result["versions"]["torch"] == torch.__version__.partition("+")[0]


@pytest.mark.filterwarnings("ignore")  # other people's libraries
@pytest.mark.parametrize("side", PEERS)
def test_a_library_gives_the_same_keys(side, folder):
    assert result_of(side, folder).keys() == result_of("tutorial", folder).keys()


def test_tables_name_every_side_and_ratio(folder):
    results = [result_of(side, folder, seed) for seed in (0, 1) for side in ("tutorial", "ours")]
    text = tables(results)
    assert text.startswith("**vgg19-simple_cnn**, 2 epochs of 16 images, batch 8")
    assert [line.split()[1] for line in text.splitlines() if line.startswith(("| tutorial", "| ours |"))] == [
        "tutorial",
        "ours",
        "tutorial",
    ]
    assert "seeds 0, 1" in header(results)


def test_labelling_is_shared_out_among_epochs_and_learners():
    run_ = {"images_per_second": 1000.0, "labelled_per_second": 100.0}
    assert with_labelling(run_, 1) == pytest.approx(1 / (0.001 + 0.16 * 0.01))
    assert with_labelling(run_, 4) == pytest.approx(1 / (0.001 + 0.04 * 0.01))


def test_an_accuracy_is_reached_at_the_end_of_an_epoch_or_never():
    run_ = {"seconds": [3.0, 5.0], "accuracies": [0.4, 0.6]}
    assert [seconds_to(run_, goal) for goal in (0.4, 0.5, 0.7)] == [3.0, 5.0, math.inf]


def test_sides_share_first_weights_images_and_views(folder):
    first, again, other = (task_in(folder, seed).student.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    images = read_images(folder / "training.safetensors")
    assert images.images.shape == (16, 3, 32, 32)
    # Black at the edges, further than views shift: padding with black and mirrored edges give the same pixels.
    assert not images.images[:, :, :5].any()
    assert not images.images[..., -5:].any()


@pytest.mark.parametrize("side", PEERS)
def test_a_library_that_is_missing_is_named_with_what_to_do(side, folder, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match=f"{side} is not installed: pip install"):
        run(side, task_in(folder))
    with pytest.raises(SystemExit, match="pip install"):
        command.sides_of(argparse.Namespace(side=[side]))
    assert command.sides_of(argparse.Namespace(side=None)) == ["tutorial", "ours"]
    assert f"left out: {side} is not installed" in capsys.readouterr().out


def logits():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (4 * torch.randn(6, 10, generator=generator) for _ in range(2))
    return student, teacher, torch.arange(6)


def expected():
    student, teacher, labels = logits()
    soft = losses.resolve("kl", {"temperature": TEMPERATURE})(student, teacher, labels)
    return losses.combine(soft, torch.nn.functional.cross_entropy(student, labels), ALPHA)


def test_the_tutorials_loss_is_ours():
    assert stored_labels.TEACHING.model_dump(include={"alpha", "temperature", "loss"}) == {
        "alpha": ALPHA,
        "temperature": TEMPERATURE,
        "loss": "kl",
    }
    torch.testing.assert_close(tutorial.loss_of(*logits()), expected())


@pytest.mark.filterwarnings("ignore")
def test_lightnings_loss_is_ours():
    pytest.importorskip("lightning")
    from benchmarks.peers import lightning_module

    torch.testing.assert_close(lightning_module.loss_of(*logits()), expected())


@pytest.mark.filterwarnings("ignore")
def test_torchdistills_loss_is_ours(folder):
    pytest.importorskip("torchdistill")
    from torchdistill.losses.registry import get_high_level_loss

    from benchmarks.peers import distillation_box

    student, teacher, labels = logits()
    criterion = get_high_level_loss(distillation_box.config_of(task_in(folder))["criterion"])
    answers = {"student": {".": {"output": student}}, "teacher": {".": {"output": teacher}}}
    torch.testing.assert_close(criterion(answers, {}, labels), expected())


def test_an_ensemble_answers_with_the_mean_of_probabilities():
    members = [torch.nn.Linear(3, 4) for _ in range(2)]
    pixels = torch.randn(5, 3)
    said = MeanOfProbabilities(members)(pixels)
    fused = fusion.fuse(torch.stack([m(pixels) for m in members]), "mean_probabilities", temperature=TEMPERATURE)
    torch.testing.assert_close((said / TEMPERATURE).softmax(1), fused)
