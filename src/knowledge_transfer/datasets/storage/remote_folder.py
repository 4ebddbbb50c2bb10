"""Folders at an address, copied to a local disk while they are read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from knowledge_transfer.datasets.storage.store import shown


def is_remote(path: str) -> bool:
    """Return whether `path` is an address such as `s3://bucket/folder`, not a local path."""
    return "://" in path and not path.startswith("file://")


@contextmanager
def copied(address: str, credentials: dict[str, Any] | None, names: Sequence[str] = ()) -> Iterator[Path]:
    """Yield the path of a local copy of these `names` in the folder, or of all of it; no file is there if none is.

    Raises a ValueError or OSError about the copy as a ValueError about the address, and ValueError when the folder
    cannot be copied.
    """
    system, path = url_to_fs(address, **(credentials or {}))
    public = shown(address).rstrip("/")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "copy"
        try:
            _copy(system, path.rstrip("/"), folder, names)
        except OSError as error:
            raise ValueError(f"cannot copy {public} to a temporary folder: {error}") from error
        try:
            yield folder
        except (ValueError, OSError) as error:
            raise ValueError(str(error).replace(str(folder), public)) from error


def _copy(system: AbstractFileSystem, root: str, folder: Path, names: Sequence[str]) -> None:
    system.invalidate_cache()
    wanted = [f"{root}/{name}" for name in names] or [root]
    try:
        # An object store may represent folders by empty objects.
        found = [file for where in wanted for file in system.find(where) if not file.endswith("/")]
    except FileNotFoundError:  # other file systems return an empty list
        return
    inside = [PurePosixPath(file.removeprefix(root).lstrip("/")) for file in found]
    if outside := [file for file, path in zip(found, inside, strict=True) if ".." in path.parts]:
        raise ValueError(f"{outside[0]} would be copied to outside of its folder: rename it")
    if found:
        # All at once: object stores serve many requests side by side.
        system.get(found, [str(folder / path) for path in inside])
