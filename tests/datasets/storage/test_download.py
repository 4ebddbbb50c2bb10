"""Downloads that fail: one clear error, soon, and nothing left that looks complete."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from torchvision import datasets as published

from knowledge_transfer.datasets.storage import download
from knowledge_transfer.datasets.storage.download import fetch


def unreachable(*_: Any, **__: Any) -> None:
    raise URLError("no network")


@pytest.mark.parametrize("name", ["CIFAR10", "MNIST", "FashionMNIST", "GTSRB"])
def test_without_a_network_one_line_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(ValueError, match=rf"{name} is not in .* and cannot be downloaded: put a\.zip into") as error:
        fetch(name, tmp_path, tmp_path / "there", "a.zip")
    message = str(error.value)
    assert str(tmp_path / "there") in message
    assert "`make run`, which needs no download" in message
    assert "no network" in message
    assert "\n" not in message
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_SILENCE", 0.2)
    before = socket.getdefaulttimeout()
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(published.CIFAR10, "url", f"http://127.0.0.1:{server.getsockname()[1]}/cifar.tar.gz")
        start = time.monotonic()
        threading.Timer(5, server.close).start()  # ends the test if no time limit does
        with pytest.raises(ValueError, match="timed out"):
            fetch("CIFAR10", tmp_path, tmp_path, "a.tar.gz")
    assert time.monotonic() - start < 5
    assert socket.getdefaulttimeout() == before


def test_two_parts_are_fetched_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = threading.Semaphore(1)

    class Slow:
        def __init__(self, *_: Any, **__: Any) -> None:
            assert inside.acquire(blocking=False)
            time.sleep(0.05)
            inside.release()

    monkeypatch.setattr(published, "CIFAR10", Slow)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch("CIFAR10", tmp_path, tmp_path, "a"), range(4)))
