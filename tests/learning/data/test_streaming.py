"""Image sets of which a window at a time is on the device."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data import streaming
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.streaming import Window, windowed_order
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.losses.objective import DistillationObjective
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions, Trainer
from knowledge_transfer.learning.vectorized.members import learn_members
from knowledge_transfer.learning.vectorized.network import is_faster
from tests.conftest import stripes, two_domains

CPU = torch.device("cpu")
AUGMENTATION = Augmentation(crop=3, flip=True, cutout=4)
RECIPE = Recipe(epochs=2, batch_size=20, learning_rate=0.05, precision="fp32", window=40, augmentation=AUGMENTATION)
TINY = Architecture(kind="resnet8", width=0.5)


def trained(images: ImageSet, recipe: Recipe = RECIPE, seed: int = 0) -> Checkpoint:
    own = Normalisation(mean=(0.5,), deviation=(0.3,))
    return learn("a", TINY, FitData(images, images, own), recipe, LearnOptions(seed=seed, device=CPU))


@pytest.mark.parametrize("count", [1, 63, 64, 1000])
def test_every_image_comes_once(count: int) -> None:
    assert windowed_order(count, 100).sort().values.tolist() == list(range(count))


def test_a_window_holds_blocks_from_everywhere() -> None:
    order = windowed_order(163_840, 16_384)
    for part in order.split(16_384):
        blocks = (part // 64).unique(return_counts=True)
        assert (blocks[1] == 64).all(), "a block is read as a whole"
        assert blocks[0].max() - blocks[0].min() > 1_280, "of all 2,560 blocks, not of neighbouring ones"
        assert not torch.equal(part, part.sort().values)
    assert not torch.equal(order, windowed_order(163_840, 16_384))


@pytest.mark.parametrize("window", [256, 1_024, 16_384])
def test_batches_of_sets_ordered_by_class_are_mixed(window: int) -> None:
    classes = torch.arange(50_000) // 5_000

    def largest(order: torch.Tensor) -> float:
        batches = classes[order[:49_920]].view(-1, 128)
        return float(torch.stack([(batches == k).float().mean(1) for k in range(10)]).amax(0).mean())

    torch.manual_seed(0)
    assert largest(windowed_order(50_000, window)) < largest(torch.randperm(50_000)) + 0.02


def test_each_window_is_read_once_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = stripes(120)
    read: list[int] = []
    original = streaming._Read.of_images

    def spy(this: streaming._Read, kept: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
        read.append(len(this.rows))
        return original(this, kept, room)

    monkeypatch.setattr(streaming._Read, "of_images", spy)
    trained(images)
    assert read == [40, 40, 40] * RECIPE.epochs


def test_the_pixels_are_those_of_the_whole_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step renders from the window what it would render from all images, so that soft labels fit."""
    images = stripes(120)
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    monkeypatch.setattr("knowledge_transfer.learning.training.trainer.render", _spied(images, seen))
    trained(images)
    assert len(seen) == 12
    assert all(torch.equal(of_window, of_all) for _, of_window, of_all in seen)
    assert torch.cat([indices for indices, *_ in seen[:6]]).sort().values.tolist() == list(range(120))


def _spied(images, seen):
    from knowledge_transfer.learning.data.augmentation import render

    def spy(pixels, indices, **how):
        view = render(pixels, indices, **how)
        seen.append((indices, view.pixels, render(images.images, indices, **how).pixels))
        return view

    return spy


def test_a_fit_in_windows_learns_and_repeats() -> None:
    images = stripes(120)
    one, other = trained(images), trained(images)
    assert one.sha256 == other.sha256
    assert one.sha256 != trained(images, RECIPE.override({"window": None})).sha256, "another order"
    assert trained(images, RECIPE.override({"epochs": 6})).facts.metrics["validation_accuracy"] > 0.95


@pytest.mark.parametrize("domain", [None, "all", "digits", "signs"])
def test_soft_labels_made_in_windows_are_the_same(domain: str | None) -> None:
    """Of images without domains, of a mix, and of one domain of a mix."""
    images = stripes(120) if domain is None else mix(two_domains())
    learned, channels = images.of(domain or "all"), images.images.shape[1]
    own = Normalisation(mean=(0.5,) * channels, deviation=(0.3,) * channels)
    recipe = RECIPE.override({"window": None})
    teacher = learn("a", TINY, FitData(learned, learned, own), recipe, LearnOptions(0, CPU))
    how = {"views": 2, "view_seed": 3, "augmentation": AUGMENTATION, "device": CPU}
    whole, windowed = label([teacher], images, **how), label([teacher], images, window=16, **how)
    # Batches of another size sum in another order.
    torch.testing.assert_close(windowed.logits, whole.logits, rtol=2e-2, atol=2e-2)
    assert bool(whole.logits.isinf().any()) == (domain in ("digits", "signs"))


def test_soft_labels_stay_with_their_image() -> None:
    """The soft label of an image is the parity of its number, so that no other image's fits."""
    images = stripes(120)
    teacher_logits = torch.zeros(120, 2, 3)
    teacher_logits[torch.arange(120), :, torch.arange(120) % 2] = 9
    matches: list[bool] = []

    def loss(student, teacher, labels):
        matches.append(torch.equal(labels, images.labels[taken[-1]]) and torch.equal(teacher.argmax(1), taken[-1] % 2))
        return losses.kl(student, teacher, labels, temperature=1.0)

    taken: list[torch.Tensor] = []

    class Spying(Trainer):
        def step(self, indices, *rest):
            taken.append(indices)
            return super().step(indices, *rest)

    from knowledge_transfer.learning.train import network_of

    network = network_of(TINY, images, Normalisation(mean=(0.5,), deviation=(0.3,)), 0)
    options = FitOptions("a", 0, CPU, DistillationObjective(teacher_logits, loss, 0.5, view_seed=0))
    Spying(network, images, RECIPE, options).epoch(0)
    assert matches == [True] * 6


def test_an_early_end_leaves_the_window_empty() -> None:
    window = Window(stripes(120).images, CPU, 40)
    for _ in window.over(torch.arange(120)):
        break
    with pytest.raises(IndexError):
        window[torch.tensor([0])]


def test_replicas_take_no_window() -> None:
    own = Normalisation(mean=(0.5,), deviation=(0.3,))
    with pytest.raises(ValueError, match="leave window out"):
        learn("a", TINY, FitData(s := stripes(120), s, own), RECIPE, LearnOptions(0, CPU, replicas=2))


@pytest.mark.parametrize("changes", [{"window": 40}, {"optimizer": "muon", "window": None}])
def test_members_that_cannot_be_stacked_follow_one_another(changes: dict[str, Any]) -> None:
    images, recipe = stripes(120), RECIPE.override(changes)
    tiny = Architecture.model_validate({"kind": "cnn", "layers": {"convolutions": [[4], [4]]}})
    data = FitData(images, images, Normalisation(mean=(0.5,), deviation=(0.3,)))
    members = {f"m{number}": LearnOptions(number, CPU) for number in range(4)}
    assert is_faster(tiny, images, len(members), CPU), "else this shows nothing"
    learnt = learn_members("all", members, tiny, data, recipe)
    alone = learn("m3", tiny, data, recipe, members["m3"])
    assert learnt[3].sha256 == alone.sha256
    with pytest.raises(ValueError, match="cannot be stacked"):
        learn_members("all", members, tiny, data, recipe, stack=True)


def test_partners_need_the_whole_set() -> None:
    with pytest.raises(ValidationError, match="leave window out, or set both to 0"):
        Recipe(window=100, augmentation=Augmentation(mixup=0.2))
