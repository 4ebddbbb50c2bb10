import pytest
import torch

from knowledge_transfer.learning.data.domain_mix import counts_of, mix, shared, thin
from knowledge_transfer.learning.data.domains import ALL, Block
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import split, without
from tests.conftest import stripes, two_domains


def grouped(images, groups):
    return ImageSet(images.images, images.labels, images.class_names, groups)


def test_sizes_and_colours_become_one_set():
    small = stripes(12, size=28)
    mixed = mix({"digits": small, "signs": stripes(4, classes=2, channels=3)})
    assert mixed.images.shape == (16, 3, 32, 32)
    assert mixed.images.dtype == torch.uint8
    assert mixed.class_names == ("digits/class 0", "digits/class 1", "digits/class 2", "signs/class 0", "signs/class 1")
    assert mixed.labels.tolist() == [0, 1, 2] * 4 + [3, 4] * 2
    assert mixed.domains.tolist() == [0] * 12 + [1] * 4
    grey = mixed.images[:12]
    assert grey[:, 0].equal(grey[:, 1])
    assert grey[:, 0].equal(grey[:, 2])
    assert abs(grey.float().mean() - small.images.float().mean()) < 1, "scaled, not padded"


def test_a_domain_leaves_a_mix_unchanged():
    domains = two_domains()
    mixed = mix(domains)
    shuffled = mixed.subset(torch.randperm(50, generator=torch.Generator().manual_seed(0)))
    for domain, images in domains.items():
        own = mixed.of(domain)
        assert own.labels.equal(images.labels)
        assert own.class_names == images.class_names
        assert own.images.equal(images.images.expand(-1, 3, -1, -1))
        assert own.blocks == (Block(domain, 0, images.class_names),)
        assert set(shuffled.of(domain).content_hashes()) == set(own.content_hashes())
    assert mixed.of(ALL) is mixed


def test_one_set_called_all_is_no_mix():
    images = stripes(6)
    assert mix({ALL: images}) is images
    assert images.of(ALL) is images


def test_a_mix_of_one_domain_is_its_images():
    images = stripes(6)
    mixed = mix({"digits": images})
    assert mixed.sha256 == images.sha256
    assert mixed.blocks == (Block("digits", 0, images.class_names),)
    assert mixed.of("digits") is mixed


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(ValueError, match="at least one domain"):
        mix({})
    with pytest.raises(ValueError, match="images of 2 and of 3 channels cannot be mixed"):
        mix({"a": stripes(6, channels=2), "b": stripes(6, channels=3)})


def test_groups_of_two_domains_never_coincide():
    """Numbers that would meet: 30 images make room for 30 groups, and a group of the first is called 30."""
    domains = two_domains()
    mixed = mix(
        {
            "digits": grouped(domains["digits"], torch.arange(30) // 10 * 30),
            "signs": grouped(domains["signs"], torch.arange(20) // 10),
        }
    )
    digits, signs = (mixed.of(domain).groups.tolist() for domain in ("digits", "signs"))
    assert [len(set(groups)) for groups in (digits, signs)] == [3, 2]
    assert not set(digits) & set(signs)


def test_tracks_stay_whole_and_single_images_separable():
    domains = two_domains(signs=24)
    tracks = grouped(domains["signs"], torch.arange(24) // 2 % 4 * 2 + torch.arange(24) % 2)  # four of each class
    mixed = mix({"digits": domains["digits"], "signs": tracks})
    for seed in range(3):
        rest, part = split(mixed, 0.3, seed=seed)
        assert part.of("digits").labels.bincount().tolist() == [3, 3, 3]
        assert part.of("signs").labels.bincount().tolist() == [3, 3], "one track of three frames"
        assert not set(rest.groups.tolist()) & set(part.groups.tolist())


def test_a_picture_of_two_domains_stays_together():
    """Grey in one domain, coloured in the other: in the mix they are the same pixels."""
    grey = stripes(30)
    copies = ImageSet(grey.images.repeat(1, 3, 1, 1), torch.arange(30) % 2, ("even", "odd"))
    mixed = mix({"digits": grey, "parity": copies})
    for seed in range(5):
        rest, part = split(mixed, 0.4, seed=seed)
        assert not set(rest.content_hashes()) & set(part.content_hashes())
        assert len(part) == 2 * len(part.of("digits")), "with its copy"
    assert len(without(mixed, mixed.subset(torch.tensor([3])))) == 58


def test_a_class_of_few_groups_is_split():
    domains = two_domains(digits=300, signs=12)
    tracks = grouped(domains["signs"], torch.arange(12) % 4)  # two of each class
    rest, part = split(mix({"digits": domains["digits"], "signs": tracks}), 0.1, seed=0)
    assert part.labels.bincount().tolist() == [10, 10, 10, 3, 3]
    assert rest.labels.bincount().tolist() == [90, 90, 90, 3, 3]


@pytest.mark.parametrize(
    ("shares", "counts"),
    [
        ("proportional", {"digits": 30, "signs": 20}),
        ("equal", {"digits": 20, "signs": 20}),
        ({"digits": 7, "signs": 20}, {"digits": 7, "signs": 20}),
        ({"signs": 5}, {"digits": 30, "signs": 5}),
        ({"digits": 3, "signs": 2}, {"digits": 3, "signs": 2}),  # every class stays present
    ],
)
def test_the_shares_of_the_domains(shares, counts):
    mixed = mix(two_domains())
    chosen = shared(mixed, shares, seed=0)
    assert counts_of(chosen) == counts
    assert chosen.labels.unique().tolist() == [0, 1, 2, 3, 4]
    assert set(chosen.content_hashes()) <= set(mixed.content_hashes())
    assert chosen.sha256 == shared(mixed, shares, seed=0).sha256


def test_thinning_follows_its_seed_and_keeps_proportions():
    mixed = mix(two_domains())
    one = thin(mixed, {"digits": 9}, seed=0)
    assert one.labels.bincount().tolist() == [3, 3, 3, 10, 10]
    assert one.sha256 == thin(mixed, {"digits": 9}, seed=0).sha256
    assert one.sha256 != thin(mixed, {"digits": 9}, seed=1).sha256
    assert thin(mixed, {"digits": 99}, seed=0) is mixed


def test_impossible_shares_are_refused():
    mixed = mix(two_domains())
    with pytest.raises(ValueError, match="hold 21 images of 'signs', there are 20"):
        shared(mixed, {"digits": 7, "signs": 21}, seed=0)
    with pytest.raises(ValueError, match="hold 2 images of 'digits', there are 30 of 3 classes"):
        shared(mixed, {"digits": 2}, seed=0)
    with pytest.raises(ValueError, match="no domain 'sings' in the mix; did you mean 'signs'"):
        shared(mixed, {"sings": 5}, seed=0)
    with pytest.raises(ValueError, match="no domain 'letters' in the mix; known: digits, signs"):
        thin(mixed, {"letters": 5}, seed=0)


def test_a_domain_of_joined_sets_is_joined():
    """A target may learn from two sets joined, a student of one domain from its own parts of both."""
    first, second = split(mix(two_domains()), 0.5, seed=0)
    both = first.join(second)
    assert both.blocks == first.blocks
    assert both.domains.diff().lt(0).any(), "interleaved"
    for domain in ("digits", "signs"):
        assert both.of(domain).sha256 == first.of(domain).join(second.of(domain)).sha256


def test_a_class_of_shared_pictures_is_refused():
    base = stripes(8, classes=2)
    pixels, labels = torch.cat([base.images, base.images[:1]]), torch.cat([base.labels, torch.tensor([2])])
    with pytest.raises(ValueError, match="class z cannot be on both sides: its pictures are also those of other"):
        split(ImageSet(pixels, labels, ("x", "y", "z")), 0.3, seed=0)


def test_a_domain_of_one_class_is_refused():
    with pytest.raises(ValueError, match="domain 'b' has a single class"):
        mix({"a": stripes(6), "b": stripes(6, classes=1)})
