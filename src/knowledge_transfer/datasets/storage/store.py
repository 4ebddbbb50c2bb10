"""Stores of bytes at a local path or any fsspec address; a file is there whole or not at all."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from kedro.io import AbstractDataset, CatalogProtocol
from kedro.io.core import DatasetError, get_filepath_str

_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Store:
    """One address of bytes: `path` as its file system calls it, `address` as a user does."""

    system: AbstractFileSystem
    path: str  # a Path would make http:/host of http://host
    address: str

    @classmethod
    def at(cls, filepath: str, credentials: dict[str, Any] | None = None) -> Store:
        """Return the store of a local path or an address such as `s3://bucket/file`."""
        system, path = url_to_fs(filepath, **(credentials or {}))
        return cls(system, path, path if isinstance(system, LocalFileSystem) else shown(filepath))

    @classmethod
    def of(cls, dataset: AbstractDataset[Any, Any]) -> Store | None:
        """Return the store of a dataset, of this project or Kedro's own; None unless it is a single file."""
        if isinstance(store := getattr(dataset, "store", None), cls):
            return store
        # Kedro's datasets have no public attribute for it; these private ones are the same in all.
        if not hasattr(dataset, "_fs") or not hasattr(dataset, "_filepath"):
            return None
        path = get_filepath_str(dataset._filepath, dataset._protocol)
        address = path if isinstance(dataset._fs, LocalFileSystem) else f"{dataset._protocol}://{dataset._filepath}"
        return cls(dataset._fs, path, address)

    def beside(self, suffix: str) -> Store:
        """Return the address with another suffix."""
        path, address = (posixpath.splitext(name)[0] + suffix for name in (self.path, self.address))
        return Store(self.system, path, address)

    def exists(self) -> bool:
        """Return whether there is a file that is not empty. Raises OSError when the store cannot be reached."""
        # Not isfile: it takes a refused key or a lost connection for a missing file, whose node would run again.
        self.system.invalidate_cache(self.path)
        try:
            info = self.system.info(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return info["type"] == "file" and info.get("size") != 0

    def read(self, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes from `start` to `end`, all if neither is given. Raises DatasetError when there are none."""
        self._require()
        return bytes(self.system.cat_file(self.path, start=start, end=end))

    def _require(self) -> None:
        if not self.exists():
            raise DatasetError(f"{self.address} is missing or empty: run the node that makes it")

    def local(self) -> Path | None:
        """Return the path on a local disk, None if it is elsewhere. Raises DatasetError when there are no bytes."""
        if not isinstance(self.system, LocalFileSystem):
            return None
        self._require()
        return Path(self.path)

    def modified(self) -> float | None:
        """Return when the bytes were written, in seconds since 1970; None for no file or an unknown time."""
        self.system.invalidate_cache(self.path)
        try:
            moment = self.system.modified(self.path)
        except (FileNotFoundError, NotADirectoryError, RuntimeError):  # the last where no times are kept
            return None
        return None if moment is None else float(moment.timestamp())

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """Yield a local file of these bytes and this name: the file itself, or a temporary copy."""
        if isinstance(self.system, LocalFileSystem):
            yield Path(self.path)
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / posixpath.basename(self.path)
            self.system.get_file(self.path, str(copy))
            yield copy

    def write(self, data: bytes) -> None:
        """Replace the bytes at once: after a crash the old ones or the new are there, never a part.

        At an address the service has to guarantee it; object stores do. Raises DatasetError when the disk is full; the
        old bytes are kept.
        """
        if not isinstance(self.system, LocalFileSystem):
            self.system.pipe_file(self.path, data)
            return
        target = Path(self.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        # In the same folder: a rename across disks is a copy, which may be interrupted. Not tempfile: its files are
        # private to the user, and colleagues read checkpoints too.
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError as error:
            if error.errno in _FULL:
                raise DatasetError(
                    f"disk full while writing {target}: make room and run its node again; the earlier file is kept"
                ) from error
            raise
        finally:
            temporary.unlink(missing_ok=True)


def shown(address: str) -> str:
    """Return an address without a password in it; a name alone stays, as in abfs://container@account."""
    return re.sub(r"//[^/@:]*:[^/@]*@", "//", address)


def file_of(catalog: CatalogProtocol, name: str) -> Store | None:
    """Return the file that holds the dataset, if one does."""
    dataset = catalog.get(name)
    return None if dataset is None else Store.of(dataset)


def without_password(uri: str) -> str:
    """Return `uri` without a name and password, for a name may be a token."""
    return re.sub(r"//[^/@]*@", "//", uri)
