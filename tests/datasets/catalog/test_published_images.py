"""Published images through the catalog: what a user who mistypes or lacks a file reads."""

import io
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DataCatalog
from kedro.io.core import DatasetError
from PIL import Image

from knowledge_transfer.datasets import PublishedImagesDataset
from knowledge_transfer.datasets.sources.registry import SOURCES, Source
from knowledge_transfer.datasets.storage import remote_folder
from knowledge_transfer.learning.data.image_set import ImageSet
from tests.bucket import KEY, Bucket
from tests.datasets.sources.test_torchvision_images import mnist  # noqa: F401 - a fixture


def config(**changes: Any) -> dict[str, Any]:
    known = {"source": "digits", "path": "data", "image_size": 32, "split": "test"}
    return {"type": "knowledge_transfer.datasets.PublishedImagesDataset", **known, **changes}


def test_digits_through_the_catalog() -> None:
    images = DataCatalog.from_config({"published_test_images": config()}).load("published_test_images")
    assert images.images.shape[1:] == (1, 32, 32)


@pytest.mark.parametrize("has_folder", [True, False])
def test_another_source_is_one_line_of_the_registry(monkeypatch: pytest.MonkeyPatch, has_folder: bool) -> None:
    images = ImageSet(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([0]), ("a",))

    def read(*given: Any) -> ImageSet:
        assert given == (*((Path("there"),) if has_folder else ()), "train", 40)
        return images

    monkeypatch.setitem(SOURCES, "mine", Source(read, has_folder))
    assert PublishedImagesDataset(source="mine", path="there", image_size=40, split="train").load() is images
    with pytest.raises(DatasetError, match="did you mean 'mine'"):
        PublishedImagesDataset(source="mines", path="there", image_size=40, split="train")


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


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files, which are gone when the test ends."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def remote(source: str, path: str, split: Any = "train") -> PublishedImagesDataset:
    return PublishedImagesDataset(source=source, path=path, image_size=32, split=split, credentials=KEY)


def put(path: str, data: bytes) -> None:
    Bucket(**KEY).pipe_file(path, data)


def put_images(folder: str) -> None:
    for place in range(10):
        file = io.BytesIO()
        Image.new("L", (40, 40), place * 20).save(file, "png")
        put(f"{folder}/{('cat', 'dog')[place % 2]}/{place}.png", file.getvalue())


def record_copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that names every file that is copied from now on."""
    copied: list[str] = []
    get = Bucket.get
    monkeypatch.setattr(Bucket, "get", lambda self, files, places: copied.extend(files) or get(self, files, places))
    return copied


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_elsewhere_is_copied_read_and_forgotten(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, slash: str
) -> None:
    put_images("photos/mine")
    # S3 lists the empty objects, too, by which its web page marks a folder; as files they would be in a folder's way.
    marks, find, copied = ["photos/mine/", "photos/mine/cat/"], Bucket.find, record_copies(monkeypatch)
    monkeypatch.setattr(Bucket, "find", lambda self, path: [*marks, *find(self, path)])
    dataset = remote("folder", f"bucket://photos/mine{slash}")
    images = dataset.load()
    assert images.class_names == ("cat", "dog")
    assert images.images.shape == (8, 1, 32, 32)
    assert dataset._describe()["path"] == f"bucket://photos/mine{slash}"
    assert not set(copied) & set(marks)


def test_a_missing_folder_is_named_by_address(temporary: Path) -> None:
    with pytest.raises(DatasetError) as error:
        remote("folder", "bucket://me:secret@nowhere/mine").load()
    wanted = "set data.path, or the domain's path, to a folder that holds one folder per class"
    assert str(error.value) == f"no folder bucket://nowhere/mine: {wanted}"


def test_a_broken_file_is_named_by_its_address(temporary: Path) -> None:
    put_images("photos/broken")
    put("photos/broken/cat/8.png", b"no image")
    with pytest.raises(DatasetError, match=r"cannot read the image bucket://photos/broken/cat/8\.png"):
        remote("folder", "bucket://photos/broken").load()


def test_a_failed_copy_does_not_blame_images(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    put_images("photos/large")
    monkeypatch.setattr(Bucket, "get", full)
    with pytest.raises(DatasetError, match=r"cannot copy bucket://photos/large to a temporary folder: .*No space left"):
        remote("folder", "bucket://photos/large").load()


def test_no_file_leaves_the_temporary_folder(temporary: Path) -> None:
    put("photos/evil/cat/../../../../escaped.png", b"")
    with pytest.raises(DatasetError, match=r"escaped\.png would be copied to outside of its folder"):
        remote("folder", "bucket://photos/evil").load()


def test_only_the_wanted_published_set_is_copied(
    mnist: Path,  # noqa: F811
    temporary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for file in mnist.iterdir():
        put(f"sets/MNIST/raw/{file.name}", file.read_bytes())
    put("sets/cifar-10-batches-py/data_batch_1", b"of another set")
    copied = record_copies(monkeypatch)
    assert len(remote("mnist", "bucket://sets", "test").load()) == 10
    assert len(copied) == 4
    assert all(file.startswith("sets/MNIST/raw/") for file in copied)


@pytest.mark.parametrize(
    ("source", "put_what", "where"),
    [
        ("mnist", r"\{train,t10k\}-.*\.gz", "bucket://empty/raw/MNIST/raw"),
        ("cifar10", r"cifar-10-python\.tar\.gz", "bucket://empty/raw"),
        ("gtsrb", r"GTSRB-Training_fixed\.zip, .*", "bucket://empty/raw/gtsrb"),
    ],
)
def test_nothing_is_downloaded_into_a_remote_folder(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, source: str, put_what: str, where: str
) -> None:
    requests: list[Any] = []
    network = lambda *request, **_: requests.append(request)  # noqa: E731
    monkeypatch.setattr("urllib.request.urlopen", network)
    with pytest.raises(DatasetError, match=f"put {put_what} into {where} yourself") as error:
        remote(source, "bucket://empty/raw").load()
    assert "nothing is downloaded into a remote folder" in str(error.value)
    assert not requests
    assert urllib.request.urlopen is network, "others may download again"


def test_what_is_drawn_needs_no_folder() -> None:
    assert len(remote("digits", "unheard-of://nowhere", "test").load()) > 300


def test_a_file_address_is_a_local_path(mnist: Path) -> None:  # noqa: F811
    assert len(remote("mnist", f"file://{mnist.parents[1]}", "test").load()) == 10


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any, **__: Any) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(remote_folder, "url_to_fs", absent)
    with pytest.raises(DatasetError, match=r"^Install s3fs to access S3$"):
        remote("folder", "s3://bucket/mine").load()
