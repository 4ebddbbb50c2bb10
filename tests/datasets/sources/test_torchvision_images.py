"""IDX and CIFAR files in torchvision's layout: small ones that pass for the published ones, and broken ones."""

import gzip
import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import datasets as published

from knowledge_transfer.datasets.sources import torchvision_images
from knowledge_transfer.datasets.sources.torchvision_images import read

COUNT = {"train": 30, "test": 10}


def unreachable(*_: Any, **__: Any) -> None:
    raise URLError("no network")


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def pixels(part: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(COUNT[part]).integers(0, 256, (COUNT[part], *shape), dtype=np.uint8)


def idx_files(part: str) -> dict[str, bytes]:
    prefix, count = {"train": "train", "test": "t10k"}[part], COUNT[part]
    return {
        f"{prefix}-images-idx3-ubyte": struct.pack(">4i", 2051, count, 28, 28) + pixels(part, 28, 28).tobytes(),
        f"{prefix}-labels-idx1-ubyte": struct.pack(">2i", 2049, count) + bytes(k % 10 for k in range(count)),
    }


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of unpacked files that pass for MNIST's, where there is no network."""
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    sums = {part: tuple(md5(data) for data in idx_files(part).values()) for part in COUNT}
    monkeypatch.setitem(torchvision_images._IDX, "mnist", torchvision_images._IDX["mnist"]._replace(md5=sums))
    for part in COUNT:
        for name, data in idx_files(part).items():
            (raw / name).write_bytes(data)
    return raw


@pytest.mark.parametrize("part", ["train", "test"])
def test_idx_files_are_read_bit_for_bit(mnist: Path, part: str) -> None:
    images = read("mnist", mnist.parents[1], part, 28)
    assert torch.equal(images.images, torch.from_numpy(pixels(part, 28, 28))[:, None])
    assert images.labels.tolist() == [k % 10 for k in range(COUNT[part])]
    assert images.class_names[7] == "7 - seven"
    assert images.groups is None


def test_other_sizes_keep_the_picture(mnist: Path) -> None:
    images = read("mnist", mnist.parents[1], "train", 32)
    assert images.images.shape == (30, 1, 32, 32)
    assert images.images.dtype == torch.uint8
    mean = torch.from_numpy(pixels("train", 28, 28)).float().mean()
    assert images.images.float().mean().item() == pytest.approx(mean.item(), abs=1)


def test_archives_are_unpacked_without_a_network(mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resources = []
    for file in sorted(mnist.iterdir()):
        packed = gzip.compress(file.read_bytes())
        file.with_name(f"{file.name}.gz").write_bytes(packed)
        file.unlink()
        resources.append((f"{file.name}.gz", md5(packed)))
    monkeypatch.setattr(published.MNIST, "resources", resources)
    assert len(read("mnist", mnist.parents[1], "test", 28)) == 10


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train-images-idx3-ubyte", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        ("train-images-idx3-ubyte", lambda data: data[:-5000]),
        ("train-images-idx3-ubyte", lambda data: b""),
        ("train-labels-idx1-ubyte", lambda data: data[:-1] + bytes([77])),
        ("train-labels-idx1-ubyte", lambda data: struct.pack(">2i", 2049, 25) + data[8:33]),
    ],
)
def test_damaged_idx_files_are_named(mnist: Path, name: str, damage: Any) -> None:
    (mnist / name).write_bytes(damage((mnist / name).read_bytes()))
    with pytest.raises(ValueError, match=rf"{name} is damaged or not the published one .*: delete it and run again"):
        read("mnist", mnist.parents[1], "train", 28)


def test_a_pickle_beside_the_files_is_ignored(mnist: Path) -> None:
    processed = mnist.parent / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(3)), processed / name)
    assert len(read("mnist", mnist.parents[1], "train", 28)) == 30


def test_the_published_sums_are_right() -> None:
    assert torchvision_images._IDX["mnist"].md5["train"][0] == "6bbc9ace898e44ae57da46a324031adb"
    sums = [sum_ for facts in torchvision_images._IDX.values() for part in facts.md5.values() for sum_ in part]
    assert len(set(sums)) == 8
    assert all(len(sum_) == 32 for sum_ in sums)


def test_missing_files_say_where_to_put_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(
        ValueError, match=r"put \{train,t10k\}-.*\.gz into .*/FashionMNIST/raw yourself, or run `make run"
    ):
        read("fashion_mnist", tmp_path, "train", 32)
    with pytest.raises(ValueError, match=rf"put cifar-10-python\.tar\.gz into {tmp_path} yourself, or run `make run`"):
        read("cifar10", tmp_path, "train", 32)
    with pytest.raises(ValueError, match=r"put cifar-100-python\.tar\.gz into"):
        read("cifar100", tmp_path, "test", 32)


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of batches that pass for CIFAR-10's, where there is no network."""
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def batch(name: str, content: dict[str, Any]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, md5((folder / name).read_bytes())]

    for part, listed in (("train", "train_list"), ("test", "test_list")):
        data, labels = pixels(part, 3072), [k % 10 for k in range(COUNT[part])]
        monkeypatch.setattr(published.CIFAR10, listed, [batch(part, {"data": data, "labels": labels})])
    name, sum_ = batch("batches.meta", {"label_names": [f"c{k}" for k in range(10)]})
    monkeypatch.setattr(published.CIFAR10, "meta", {"filename": name, "key": "label_names", "md5": sum_})
    return folder


@pytest.mark.parametrize("part", ["train", "test"])
def test_cifar_is_read_bit_for_bit(cifar: Path, part: str) -> None:
    images = read("cifar10", cifar.parent, part, 32)
    assert torch.equal(images.images, torch.from_numpy(pixels(part, 3, 32, 32)))
    assert images.labels.tolist() == [k % 10 for k in range(COUNT[part])]
    assert images.class_names == tuple(f"c{k}" for k in range(10))


def test_no_pickle_of_another_md5_is_opened(cifar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cifar / "train").write_bytes(pickle.dumps({"data": pixels("train", 3072), "labels": [0] * 30}))
    monkeypatch.setattr("pickle.load", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(ValueError, match=r"CIFAR10 is not in .* and cannot be downloaded"):
        read("cifar10", cifar.parent, "train", 32)
