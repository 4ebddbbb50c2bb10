"""An object store in memory, where it differs from a disk: buckets first, a key to enter, whole seconds."""

from datetime import datetime
from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

KEY = {"key": "mine"}


class Bucket(MemoryFileSystem):
    """`bucket://name/file`, for a user with the key."""

    protocol = "bucket"
    root_marker = ""
    store: dict[str, Any] = {}
    pseudo_dirs = [""]

    def __init__(self, key: str = "", **options: Any) -> None:
        super().__init__(**options)
        self._key = key

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(path).removeprefix("bucket://").strip("/")

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        self._require_key(path)
        return super().info(path, **options)

    def find(self, path: str, *others: Any, **options: Any) -> Any:
        self._require_key(path)
        return super().find(path, *others, **options)

    def modified(self, path: str) -> datetime:
        return super().modified(path).replace(microsecond=0)

    def _require_key(self, path: str) -> None:
        if self._key != KEY["key"]:
            raise PermissionError(f"no key to {path}")


fsspec.register_implementation("bucket", Bucket, clobber=True)
