"""Downloads of published data sets and weights by torchvision, which checks archives before it unpacks them."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

_SILENCE = 20.0  # seconds; torchvision sets no limit, and a firewall that drops packets holds each try for minutes
_ONE_AT_A_TIME = threading.Lock()  # an asynchronous run loads both parts at once, from the same archives


def published(name: str) -> Any:
    """Return torchvision's class of the data set `name`."""
    from torchvision import datasets  # a second, which a run on embedded data need not wait for

    return getattr(datasets, name)


def fetch(name: str, root: Path, folder: Path, files: str, *, download: bool = True, **which: Any) -> Any:
    """Return torchvision's data set `name` of `root`, downloaded if need be and `download` allows it.

    Archives that are there are unpacked without a network. torchvision unpacks tar files without a filter before Python
    3.14, which is safe for archives of a known MD5, as all of these. Raises ValueError that names the `files` and the
    `folder` to put them into when they are neither there nor can be downloaded.
    """
    with _ONE_AT_A_TIME, _patience(_SILENCE), nullcontext() if download else _no_network():
        try:
            return published(name)(root, download=True, **which)
        except (RuntimeError, OSError, http.client.HTTPException) as error:
            raise ValueError(
                f"{name} is not in {root} and cannot be downloaded: put {files} into {folder} yourself, or run "
                f"`make run`, which needs no download ({' '.join(str(error).split())})"
            ) from error


def fetch_weights(weights: WeightsEnum, folder: Path) -> None:
    """Download weights that torchvision publishes into `folder`, checked by the hash in their name.

    Raises OSError or RuntimeError when that fails.
    """
    with _ONE_AT_A_TIME, _patience(_SILENCE):
        weights.get_state_dict(progress=False, check_hash=True, model_dir=str(folder), weights_only=True)


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def _no_network() -> Iterator[None]:
    """Refuse every request of torchvision, whose `download=False` would not unpack archives either."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError("nothing is downloaded into a remote folder")

    before = urllib.request.urlopen
    urllib.request.urlopen = refuse
    try:
        yield
    finally:
        urllib.request.urlopen = before
