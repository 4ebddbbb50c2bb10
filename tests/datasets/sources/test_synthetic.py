"""The synthetic sources."""

from typing import Literal

import pytest
import torch

from knowledge_transfer.datasets.sources.registry import SOURCES
from knowledge_transfer.learning.data.image_set import ImageSet

Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = ("train", "test")
SYNTHETIC = ("glyphs", "shapes", "road_signs")


def by_class(images: ImageSet) -> list[int]:
    return images.labels.bincount(minlength=len(images.class_names)).tolist()


@pytest.mark.parametrize(
    ("source", "channels", "classes", "each"),
    [("glyphs", 1, 12, (85, 25)), ("shapes", 3, 8, (125, 38)), ("road_signs", 3, 15, (66, 20))],
)
def test_shape_and_balance(source: str, channels: int, classes: int, each: tuple[int, int]) -> None:
    training, test = (SOURCES[source].read(part, 32) for part in PARTS)
    assert training.images.shape[1:] == test.images.shape[1:] == (channels, 32, 32)
    assert training.images.dtype == test.images.dtype == torch.uint8
    assert training.class_names == test.class_names
    assert len(set(training.class_names)) == classes
    assert [by_class(images) for images in (training, test)] == [[count] * classes for count in each]


@pytest.mark.parametrize("source", SYNTHETIC)
def test_no_picture_occurs_twice(source: str) -> None:
    hashes = [digest for part in PARTS for digest in SOURCES[source].read(part, 32).content_hashes()]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize("source", SYNTHETIC)
def test_the_same_bits_whatever_was_drawn_before(source: str) -> None:
    first = SOURCES[source].read("test", 32)
    torch.manual_seed(1)
    SOURCES[source].read("train", 32)
    assert SOURCES[source].read("test", 32).sha256 == first.sha256


@pytest.mark.parametrize("source", SYNTHETIC)
@pytest.mark.parametrize("size", [20, 28, 48])
def test_another_size_shows_the_same_pictures(source: str, size: int) -> None:
    usual, resized = (SOURCES[source].read("test", each).images.float() for each in (32, size))
    assert resized.shape == (*usual.shape[:2], size, size)
    assert torch.allclose(usual.mean((1, 2, 3)), resized.mean((1, 2, 3)), atol=3)


def test_colours_of_shapes_do_not_tell_classes() -> None:
    shapes = SOURCES["shapes"].read("train", 32)
    middle = shapes.images[:, :, 12:20, 12:20].float().mean((2, 3))
    hue = (middle - middle.mean(1, keepdim=True)) / 255
    means = torch.stack([hue[shapes.labels == label].mean(0) for label in range(len(shapes.class_names))])
    assert means.abs().max() < 0.05


def test_frames_of_one_sign_are_one_group() -> None:
    training = SOURCES["road_signs"].read("train", 32)
    assert training.groups is not None
    assert training.groups.dtype == torch.int64
    assert set(training.groups.bincount().tolist()) == {6}
    tracks = torch.stack([training.groups, training.labels], 1).unique(dim=0)
    assert tracks[:, 1].bincount().tolist() == [11] * 15
    # A corner that the sign never covers: the background of a track stays, that of another differs.
    corner = training.images[:, :, :2, :2].float().flatten(1)
    of_track = torch.stack([corner[training.groups == track].mean(0) for track in range(len(tracks))])
    assert torch.cdist(corner, of_track).argmin(1).eq(training.groups).float().mean() > 0.5


@pytest.mark.parametrize(
    ("source", "part"), [("road_signs", "test"), ("glyphs", "train"), ("glyphs", "test"), ("shapes", "train")]
)
def test_single_pictures_have_no_group(source: str, part: Part) -> None:
    assert SOURCES[source].read(part, 32).groups is None
