"""Published images through the catalog: what a user who mistypes or lacks a file reads."""

from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DataCatalog
from kedro.io.core import DatasetError

from knowledge_transfer.datasets import PublishedImagesDataset, published_images
from knowledge_transfer.learning.images import ImageSet


def config(**changes: Any) -> dict[str, Any]:
    known = {"source": "digits", "path": "data", "image_size": 32, "split": "test"}
    return {"type": "knowledge_transfer.datasets.PublishedImagesDataset", **known, **changes}


def test_digits_through_the_catalog() -> None:
    images = DataCatalog.from_config({"published_test_images": config()}).load("published_test_images")
    assert images.images.shape[1:] == (1, 32, 32)


@pytest.mark.parametrize(
    ("source", "reader", "arguments"),
    [
        ("gtsrb", "gtsrb", ()),
        ("folder", "image_folder", ()),
        *((name, "torchvision_images", (name,)) for name in ("mnist", "fashion_mnist", "cifar10", "cifar100")),
    ],
)
def test_every_source_has_its_reader(
    monkeypatch: pytest.MonkeyPatch, source: str, reader: str, arguments: tuple[str, ...]
) -> None:
    answer = ImageSet(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([0]), ("a",))

    def read(*given: Any) -> ImageSet:
        assert given == (*arguments, Path("there"), "train", 40)
        return answer

    monkeypatch.setattr(getattr(published_images, reader), "read", read)
    assert PublishedImagesDataset(source=source, path="there", image_size=40, split="train").load() is answer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "fashion-mnist"}, "unknown source 'fashion-mnist'; did you mean 'fashion_mnist'?"),
        ({"source": "CIFAR10"}, "unknown source 'CIFAR10'; did you mean 'cifar10'?"),
        ({"source": "imagenet_x"}, "unknown source 'imagenet_x'; known: cifar10, cifar100, digits, fashion_mnist"),
        ({"split": "tests"}, "unknown split 'tests'; did you mean 'test'?"),
        ({"image_size": 0}, "image_size is a number of pixels, got 0"),
        ({"image_size": True}, "image_size is a number of pixels, got True"),
    ],
)
def test_a_wrong_setting_stops_before_anything_is_read(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError) as error:
        DataCatalog.from_config({"published_test_images": config(**changes)}).get("published_test_images")
    assert message in str(error.value)


def test_what_is_missing_reads_as_one_sentence(tmp_path: Path) -> None:
    catalog = DataCatalog.from_config({"a_images": config(source="folder", path=str(tmp_path / "mine"))})
    with pytest.raises(DatasetError) as error:
        catalog.load("a_images")
    wanted = "set data.path, or the domain's path, to a folder that holds one folder per class"
    assert str(error.value) == f"a_images: no folder {tmp_path / 'mine'}: {wanted}"


def test_published_images_are_not_written() -> None:
    images = PublishedImagesDataset(source="digits", path="data", image_size=32, split="test")
    with pytest.raises(DatasetError, match="published images are read only"):
        images.save(images.load())
