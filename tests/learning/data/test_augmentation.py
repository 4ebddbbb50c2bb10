import pytest
import torch

from knowledge_transfer.learning.data.augmentation import Augmentation, render, soft_targets
from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.data.domains import DomainIndex
from knowledge_transfer.learning.data.splits import split
from tests.conftest import stripes, two_domains

EVERYTHING = [
    Augmentation(crop=4, flip=True),
    Augmentation(cutout=8),
    Augmentation(crop=4, flip=True, mixup=0.4),
    Augmentation(crop=2, cutmix=1.0),
    Augmentation(crop=4, flip="alternating", mixup=0.4),
]


@pytest.fixture
def pixels():
    return stripes(64, channels=3).images


@pytest.mark.parametrize("augmentation", EVERYTHING)
def test_views_do_not_depend_on_batch_or_order(pixels, augmentation):
    """The teacher labels in one order and batch size, the learner trains in another: they must see the same."""
    together = render(pixels, torch.arange(64), view=3, seed=5, augmentation=augmentation)
    order = torch.randperm(64)
    for batch in order.split(7):
        alone = render(pixels, batch, view=3, seed=5, augmentation=augmentation)
        assert torch.equal(alone.pixels, together.pixels[batch])
        assert torch.equal(alone.partner, together.partner[batch])
        assert torch.equal(alone.weight, together.weight[batch])


@pytest.mark.parametrize("augmentation", EVERYTHING)
def test_views_and_seeds_differ(pixels, augmentation):
    indices = torch.arange(64)
    one = render(pixels, indices, view=0, seed=0, augmentation=augmentation).pixels
    assert not torch.equal(one, render(pixels, indices, view=1, seed=0, augmentation=augmentation).pixels)
    assert not torch.equal(one, render(pixels, indices, view=0, seed=1, augmentation=augmentation).pixels)


def test_no_augmentation_is_the_image_itself(pixels):
    view = render(pixels, torch.tensor([5, 2]), view=9, seed=9, augmentation=Augmentation())
    assert torch.equal(view.pixels, pixels[[5, 2]])
    assert view.weight.tolist() == [1, 1]


def test_crop_shifts_with_reflected_edges():
    ramp = torch.arange(32, dtype=torch.uint8).expand(1, 1, 32, 32).repeat(200, 1, 1, 1)
    shown = render(ramp, torch.arange(200), view=0, seed=0, augmentation=Augmentation(crop=2)).pixels
    shifts = (shown[:, 0, 0, 16].int() - 16).tolist()
    assert set(shifts) == {-2, -1, 0, 1, 2}
    right = shown[shifts.index(2), 0, 0]
    assert right[-3:].tolist() == [31, 30, 29]


def test_flip_mirrors_about_half_of_the_images():
    ramp = torch.arange(32, dtype=torch.uint8).expand(1, 1, 32, 32).repeat(400, 1, 1, 1)
    shown = render(ramp, torch.arange(400), view=0, seed=0, augmentation=Augmentation(flip=True)).pixels
    first = shown[:, 0, 0, 0]
    assert set(first.tolist()) == {0, 31}
    assert 0.4 < (first == 31).float().mean() < 0.6


def test_alternating_flip_mirrors_in_every_other_view():
    ramp = torch.arange(32, dtype=torch.uint8).repeat(400, 1, 32, 1)
    how = {"seed": 0, "augmentation": Augmentation(flip="alternating")}
    mirrored = [render(ramp, torch.arange(400), view=view, **how).pixels[:, 0, 0, 0] == 31 for view in range(4)]
    assert 0.4 < mirrored[0].float().mean() < 0.6
    for view in range(3):
        assert torch.equal(mirrored[view], ~mirrored[view + 1])


def test_cutout_greys_a_square_of_its_side():
    bright = torch.full((50, 1, 32, 32), 255, dtype=torch.uint8)
    shown = render(bright, torch.arange(50), view=0, seed=0, augmentation=Augmentation(cutout=8)).pixels
    cut = (shown == 128).flatten(1).sum(1)
    assert cut.max() == 64
    assert cut.min() >= 16  # a corner


def test_mixup_mixes_pixels_and_labels_alike():
    pixels = torch.tensor([0, 200], dtype=torch.uint8).view(2, 1, 1, 1).repeat(100, 1, 4, 4)
    labels = torch.arange(200) % 2
    indices = torch.arange(200)
    view = render(pixels, indices, view=0, seed=0, augmentation=Augmentation(mixup=1.0))
    targets = soft_targets(labels, view, indices, 2)
    torch.testing.assert_close(view.pixels[:, 0, 0, 0].float(), targets[:, 1] * 200, atol=1.0, rtol=0)
    torch.testing.assert_close(targets.sum(1), torch.ones(200))
    assert 0.4 < view.weight.mean() < 0.6


def test_cutmix_share_is_the_area_that_is_left():
    pixels = torch.tensor([0, 200], dtype=torch.uint8).view(2, 1, 1, 1).repeat(100, 1, 32, 32)
    indices = torch.arange(200)
    view = render(pixels, indices, view=0, seed=0, augmentation=Augmentation(cutmix=1.0))
    own = (view.pixels == pixels).flatten(1).float().mean(1)
    other_kind = (view.partner % 2) != (indices % 2)
    torch.testing.assert_close(own[other_kind], view.weight[other_kind])


def test_beta_weights_have_the_distribution_s_variance():
    pixels = torch.zeros(20_000, 1, 1, 1, dtype=torch.uint8)
    for strength in (0.2, 1.0):
        weights = render(pixels, torch.arange(20_000), view=0, seed=0, augmentation=Augmentation(mixup=strength)).weight
        expected = 1 / (4 * (2 * strength + 1))
        assert abs(float(weights.mean()) - 0.5) < 0.01
        assert abs(float(weights.var()) - expected) < 0.005


def mixed(arrangement):
    """A mix of two domains, one behind the other, or in turns."""
    images = mix(two_domains())
    if arrangement == "shuffled":
        return images.subset(torch.randperm(50, generator=torch.Generator().manual_seed(0)))
    if arrangement == "joined":  # the transfer set and the student set
        transfer, student = split(images, 0.3, seed=0)
        return transfer.join(student)
    return images


@pytest.mark.parametrize("augmentation", EVERYTHING)
@pytest.mark.parametrize("arrangement", ["in order", "shuffled", "joined"])
def test_a_domain_has_the_same_views_in_mixes(arrangement, augmentation):
    """The target learns from the whole mix, a student from one domain of it: both see what the teacher labelled."""
    images = mixed(arrangement)
    batch = torch.randperm(50, generator=torch.Generator().manual_seed(1))[:40]
    seen = render(
        images.images, batch, view=3, seed=5, augmentation=augmentation, domain_index=DomainIndex.of(images.domains)
    )
    for position, domain in enumerate(("digits", "signs")):
        own = images.of(domain)
        where = (images.domains == position).nonzero().flatten()
        rows = images.domains[batch] == position
        numbers = torch.searchsorted(where, batch[rows])
        alone = render(own.images, numbers, view=3, seed=5, augmentation=augmentation)
        assert torch.equal(seen.pixels[rows], alone.pixels)
        assert torch.equal(seen.weight[rows], alone.weight)
        assert torch.equal(seen.partner[rows], where[alone.partner])


@pytest.mark.parametrize("strength", [{"mixup": 1.0}, {"cutmix": 1.0}])
@pytest.mark.parametrize("arrangement", ["in order", "shuffled"])
def test_a_partner_is_of_the_same_domain(arrangement, strength):
    """Else an image would have labels of two blocks, and no teacher for one of them."""
    images = mixed(arrangement)
    indices, index = torch.arange(50), DomainIndex.of(images.domains)
    partners = []
    for number in range(8):
        view = render(
            images.images, indices, view=number, seed=0, augmentation=Augmentation(**strength), domain_index=index
        )
        assert torch.equal(images.domains[view.partner], images.domains)
        partners += view.partner.tolist()
    assert len(set(partners)) > 45, "and may be any of them"


@pytest.mark.parametrize("augmentation", EVERYTHING)
def test_one_domain_has_the_views_of_no_mix(pixels, augmentation):
    indices = torch.arange(64)
    index = DomainIndex.of(torch.zeros(64).long())
    placed = render(pixels, indices, view=3, seed=5, augmentation=augmentation, domain_index=index)
    plain = render(pixels, indices, view=3, seed=5, augmentation=augmentation)
    assert torch.equal(placed.pixels, plain.pixels)
    assert torch.equal(placed.partner, plain.partner)
