import pytest
import torch

from knowledge_transfer.learning.data.domain_mix import mix, thin
from knowledge_transfer.learning.data.domains import ALL, Block, blocks_of
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import split, without
from tests.conftest import stripes, two_domains


def test_split_is_stratified_disjoint_and_keeps_every_image():
    images = stripes(90)
    rest, part = split(images, 0.3, seed=1)
    assert (len(rest), len(part)) == (63, 27)
    assert part.labels.bincount().tolist() == [9, 9, 9]
    assert not set(rest.content_hashes()) & set(part.content_hashes())
    assert set(rest.content_hashes()) | set(part.content_hashes()) == set(images.content_hashes())


def test_split_follows_its_seed():
    images = stripes(90)
    assert split(images, 0.3, seed=1)[1].sha256 == split(images, 0.3, seed=1)[1].sha256
    assert split(images, 0.3, seed=1)[1].sha256 != split(images, 0.3, seed=2)[1].sha256


def test_equal_pictures_stay_on_one_side():
    images = stripes(30)
    doubled = images.join(images)
    for seed in range(5):
        rest, part = split(doubled, 0.4, seed=seed)
        assert not set(rest.content_hashes()) & set(part.content_hashes())


def test_groups_linked_by_a_picture_stay_together():
    base = stripes(24, classes=1)
    pixels = base.images.clone()
    pixels[1] = pixels[4]  # group 0 and group 1 share a picture
    images = ImageSet(pixels, base.labels, base.class_names, torch.arange(24) // 3)
    for seed in range(5):
        rest, part = split(images, 0.5, seed=seed)
        sides = [set(side.groups.tolist()) for side in (rest, part)]
        assert not sides[0] & sides[1]
        assert any({0, 1} <= side for side in sides)


def test_a_class_too_small_to_split_is_named():
    images = stripes(9).subset(torch.tensor([0, 3, 6, 1, 4, 7, 2]))
    with pytest.raises(ValueError, match="class 'class 2' has 1 separable images"):
        split(images, 0.3, seed=0)


def test_thinning_keeps_proportions_up_to_everything():
    images = stripes(90)
    assert thin(images, {"all": 30}, seed=0).labels.bincount().tolist() == [10, 10, 10]
    assert thin(images, {"all": 1000}, seed=0) is images


def test_thinned_groups_can_still_be_split():
    base = stripes(120, classes=1)
    frames = ImageSet(base.images, base.labels, base.class_names, torch.arange(120) // 30)
    thinned = thin(frames, {"all": 24}, seed=0)
    assert set(thinned.groups.tolist()) == {0, 1, 2, 3}
    split(thinned, 0.5, seed=0)


def test_without_drops_pictures_known_elsewhere():
    images = stripes(12)
    left = without(images, images.subset(torch.tensor([0, 5])))
    assert len(left) == 10
    assert not set(left.content_hashes()) & {images.content_hashes()[k] for k in (0, 5)}


def test_statistics_are_those_of_the_pixels():
    images = stripes(30, channels=3)
    scaled = images.images.double() / 255
    mean, deviation = images.statistics()
    torch.testing.assert_close(torch.tensor(mean).double(), scaled.mean((0, 2, 3)), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.tensor(deviation).double(), scaled.std((0, 2, 3), correction=0), atol=1e-6, rtol=0)


def test_a_flat_channel_does_not_divide_by_zero():
    flat = ImageSet(torch.full((2, 1, 32, 32), 7, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    assert flat.statistics()[1] == (1.0,)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]), "uint8"),
        (torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]), "3 images but labels"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 77]), "label 77 is outside the 2 classes"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([-2, 0]), "label -2 is outside"),
    ],
)
def test_parts_that_do_not_fit_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ImageSet(images, labels, ("a", "b"))


def test_join_refuses_other_classes_and_sizes():
    with pytest.raises(ValueError, match="class names differ"):
        stripes(6).join(stripes(6, classes=2))
    with pytest.raises(ValueError, match="image sizes differ"):
        stripes(6).join(stripes(6, size=16))


def test_hash_changes_with_pixel_label_and_name():
    images = stripes(6)
    pixels, labels = images.images.clone(), images.labels.clone()
    pixels[0, 0, 0, 0] ^= 1
    labels[0] = 2
    variants = [
        images,
        ImageSet(pixels, images.labels, images.class_names),
        ImageSet(images.images, labels, images.class_names),
        ImageSet(images.images, images.labels, ("x", "y", "z")),
    ]
    assert len({variant.sha256 for variant in variants}) == 4


def test_images_without_a_mix_have_one_domain():
    images = stripes(6)
    assert images.blocks == (Block(ALL, 0, images.class_names),)
    assert images.domains.tolist() == [0] * 6
    assert images.block(ALL).class_names == images.class_names


def test_blocks_survive_subsets_and_joins():
    base = stripes(10, classes=5)
    blocks = blocks_of({"a": ("0", "1"), "b": ("0", "1", "2")})
    images = ImageSet(base.images, base.labels, ("a/0", "a/1", "b/0", "b/1", "b/2"), blocks=blocks)
    assert images.domains.tolist() == [0, 0, 1, 1, 1] * 2
    assert images.subset(torch.tensor([4, 0])).domains.tolist() == [1, 0]
    assert images.subset(torch.tensor([4])).join(images.subset(torch.tensor([1]))).domains.tolist() == [1, 0]
    assert images.of("b").labels.tolist() == [0, 1, 2] * 2
    assert torch.equal(images.of("b").images, base.images[[2, 3, 4, 7, 8, 9]])


def test_wrong_blocks_and_unknown_domains_are_refused():
    images = stripes(6)
    blocks = blocks_of({"a": ("0",), "b": ("0", "1")})
    with pytest.raises(ValueError, match=r"blocks \['a', 'b'\] do not hold the classes \('class 0'"):
        ImageSet(images.images, images.labels, images.class_names, blocks=blocks)
    mixed = ImageSet(images.images, images.labels, ("a/0", "b/0", "b/1"), blocks=blocks)
    for method in (mixed.of, mixed.block):
        with pytest.raises(ValueError, match="no domain 'c' among a, b"):
            method("c")


def test_withheld_labels_leave_every_image_its_domain():
    mixed = mix(two_domains())
    hidden = mixed.without_labels()
    assert not hidden.is_labelled.any()
    assert torch.equal(hidden.domains, mixed.domains)
    both = hidden.join(mixed)
    assert both.is_labelled.tolist() == [False] * len(mixed) + [True] * len(mixed)
    for domain in ("digits", "signs"):
        own, known = both.of(domain), mixed.of(domain)
        assert own.labels.tolist() == [-1] * len(known) + known.labels.tolist()
        assert torch.equal(hidden.of(domain).images, known.images)
