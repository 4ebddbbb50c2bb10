"""The sides run at the smallest size: the form of what they return, never how long it takes."""

import importlib.util
import math

import pytest
import torch
from PIL import Image

from benchmarks.common import cifar10, ours
from benchmarks.common.usual import MeanOfProbabilities, PilImages
from benchmarks.speed.peers import __main__ as command
from benchmarks.speed.peers.fit import SIDES, EpochClock, missing, run
from benchmarks.speed.peers.plain import stored_labels, tutorial_loss
from benchmarks.speed.peers.store import Sizes, prepare, prepare_random, read_images
from benchmarks.speed.peers.tables import header, lines, seconds_to, with_labelling
from benchmarks.speed.peers.task import Task

PEERS = [side for side, (*_, package) in SIDES.items() if package is not None]
WIDTH = 1 / 32
TASK = {"pair": "vgg19-simple_cnn", "seed": 0, "epochs": 2, "batch": 8, "rate": 0.002, "width": WIDTH, "workers": 0}
TASK |= {"device_name": "cpu", "views": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    published = cifar10.synthetic(40, 10).training
    for index, (pixels, label) in enumerate(zip(published.images, published.labels.tolist(), strict=True)):
        path = folder / "images" / published.class_names[label] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    sizes = Sizes(images=16, teacher_images=20, validation=10)
    prepare(folder, ["vgg19"], folder / "images", sizes, width=WIDTH, epochs=1, device=torch.device("cpu"))
    return folder


def result_of(side, folder, **changes):
    if advice := missing(side):
        pytest.skip(advice)
    return run(side, folder=str(folder), **{**TASK, **changes})


@pytest.mark.parametrize("side", ["tutorial", "in_step", "ours", "ours_muon"])
def test_every_epoch_has_seconds_and_accuracy(side, folder):
    result = result_of(side, folder)
    assert len(result["epoch_seconds"]) == len(result["seconds"]) == len(result["accuracies"]) == 2
    assert result["seconds"][-1] == pytest.approx(result["labelling_seconds"] + sum(result["epoch_seconds"]))
    assert (result["labelling_seconds"] > 0) == (side in ("ours", "ours_muon"))
    assert 0 <= result["accuracy"] == result["accuracies"][-1] <= 1
    assert min(result["images_per_second"], result["memory"]) > 0
    assert result["versions"]["torch"] == torch.__version__.partition("+")[0]


@pytest.mark.filterwarnings("ignore")  # other people's libraries
@pytest.mark.parametrize("side", PEERS)
def test_a_library_returns_the_same_keys(side, folder):
    assert result_of(side, folder).keys() == result_of("tutorial", folder).keys()


def test_tables_name_every_side_and_ratio(folder):
    results = [result_of(side, folder, seed=seed) for seed in (0, 1) for side in ("tutorial", "ours")]
    text = list(lines(results))
    assert text[0].startswith("**vgg19-simple_cnn**, 2 epochs of 16 images, batch 8")
    sides = [line.split()[1] for line in text if line.startswith(("| tutorial", "| ours |"))]
    assert sides == ["tutorial", "ours", "tutorial", "tutorial"]
    assert "seeds 0, 1" in header(results)


def test_the_first_ratio_is_that_of_the_times_to_the_accuracy_that_all_reach():
    def run_(side, seed, seconds):
        shared = {"pair": "p", "images": 8, "batch": 8, "workers": 0, "views": 1, "memory": 1, "labelled_per_second": 1}
        return {**shared, "side": side, "seed": seed, "seconds": seconds, "accuracies": [0.4, 0.6], "accuracy": 0.6} | {
            "images_per_second": 1
        }

    runs = [run_(side, seed, times) for seed in (0, 1) for side, times in (("tutorial", [6, 12]), ("ours", [2, 3]))]
    text = "\n".join(lines(runs))
    assert "| time to 0.600 over that of | ours |\n|---|---|\n| tutorial | 4.0 (4.0 … 4.0), 2 of 2 runs |" in text


def test_epochs_and_learners_share_the_labelling():
    run_ = {"images_per_second": 1000.0, "labelled_per_second": 100.0}
    assert with_labelling(run_, 1) == pytest.approx(1 / (0.001 + 0.16 * 0.01))
    assert with_labelling(run_, 4) == pytest.approx(1 / (0.001 + 0.04 * 0.01))
    assert with_labelling(run_, math.inf) == pytest.approx(1000)


def test_an_accuracy_is_reached_after_an_epoch():
    run_ = {"seconds": [3.0, 5.0], "accuracies": [0.4, 0.6]}
    assert [seconds_to(run_, goal) for goal in (0.4, 0.5, 0.7)] == [3.0, 5.0, math.inf]


def test_sides_share_first_weights_images_and_views(folder):
    tasks = (Task(folder=str(folder), **{**TASK, "seed": seed}) for seed in (0, 0, 1))
    first, again, other = (task.student.state_dict() for task in tasks)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    images = read_images(folder / "training.pt")
    assert images.images.shape == (16, 3, 32, 32)


def test_no_side_sees_black_where_an_image_is_shifted():
    bright = ours.ImageSet(torch.full((1, 3, 32, 32), 200, dtype=torch.uint8), torch.tensor([0]), ("a",))
    usual = PilImages(bright, (0.0,) * 3, (1.0,) * 3)
    assert all(usual[0][0].min() == usual[0][0].max() for _ in range(20))
    assert all((ours.view_of(bright.images, torch.tensor([0])) == 200).all() for _ in range(20))


def test_our_side_starts_from_the_shared_weights(tmp_path, monkeypatch):
    prepare_random(tmp_path, ["vgg19"], images=16, width=WIDTH)
    task, built = Task(folder=str(tmp_path), **TASK), []
    monkeypatch.setattr(
        ours,
        "learn",
        lambda _, shape, data, __, options, **___: built.append((shape, data, options)) or task.teachers[0],
    )
    stored_labels(task, EpochClock(task))
    shape, data, options = built[0]
    own = ours.network_of(shape, data.images, data.normalisation, options.seed).state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in task.student.state_dict().items())


@pytest.mark.parametrize("side", PEERS)
def test_a_missing_library_is_named_with_advice(side, folder, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match=f"{side} is not installed: pip install"):
        run(side, folder=str(folder), **TASK)
    with pytest.raises(SystemExit, match="pip install"):
        command.sides_of([side])
    assert command.sides_of([]) == ["tutorial", "ours", "ours_muon"]
    assert f"left out: {side} is not installed" in capsys.readouterr().out


def logits():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (4 * torch.randn(6, 10, generator=generator) for _ in range(2))
    return student, teacher, torch.arange(6)


def test_the_loss_of_the_tutorial_is_ours():
    settings = {"alpha": ours.ALPHA, "temperature": ours.TEMPERATURE, "loss": "kl"}
    assert ours.DISTILLATION.model_dump(include=settings.keys()) == settings
    torch.testing.assert_close(tutorial_loss(*logits()), ours.distillation_loss(*logits()))


@pytest.mark.filterwarnings("ignore")
def test_the_loss_of_torchdistill_is_ours(folder):
    pytest.importorskip("torchdistill")
    from torchdistill.losses.registry import get_high_level_loss

    from benchmarks.speed.peers import distillation_box

    student, teacher, labels = logits()
    task = Task(folder=str(folder), **TASK)
    criterion = get_high_level_loss(distillation_box.config_of(task)["criterion"])
    outputs = {"student": {".": {"output": student}}, "teacher": {".": {"output": teacher}}}
    torch.testing.assert_close(criterion(outputs, {}, labels), ours.distillation_loss(student, teacher, labels))


def test_an_ensemble_has_the_mean_of_probabilities():
    members = [torch.nn.Linear(3, 4) for _ in range(2)]
    pixels, temperature = torch.randn(5, 3), ours.TEMPERATURE
    logits_ = torch.stack([member(pixels) for member in members])
    fused = ours.fusion.fuse(logits_, "mean_probabilities", temperature=temperature)
    torch.testing.assert_close((MeanOfProbabilities(members)(pixels) / temperature).softmax(1), fused)
