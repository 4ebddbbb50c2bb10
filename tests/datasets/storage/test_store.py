"""Store: whole or not at all, wherever it is."""

import errno
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from kedro.io import AbstractDataset, MemoryDataset
from kedro.io.core import DatasetError
from kedro_datasets.json import JSONDataset

from knowledge_transfer.datasets import ImageSetDataset
from knowledge_transfer.datasets.storage.store import Store
from tests.bucket import KEY


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = Store.at(str(tmp_path / "new" / "folder" / "a.bin"))
    assert not store.exists()
    store.write(b"first")
    store.write(b"second")
    assert store.exists()
    assert store.read() == b"second"
    assert names(tmp_path / "new" / "folder") == ["a.bin"]


def test_other_addresses_than_local_paths() -> None:
    store = Store.at("memory://bucket/folder/a.bin")
    store.write(b"here")
    assert store.read() == b"here"
    assert fsspec.filesystem("memory").cat_file("/bucket/folder/a.bin") == b"here"
    assert not store.beside(".json").exists()


def test_addresses_keep_host_and_protocol(tmp_path: Path) -> None:
    assert Store.at("memory://one/a").path != Store.at("memory://two/a").path
    Store.at(f"file://{tmp_path}/a.bin").write(b"here")
    assert (tmp_path / "a.bin").read_bytes() == b"here"


def test_credentials_reach_the_file_system() -> None:
    assert Store.at("memory://a", {"skip_instance_cache": True}).system is not Store.at("memory://a").system


def test_an_address_is_shown_without_its_password() -> None:
    assert Store.at("memory://one/a.bin").beside(".json").address == "memory://one/a.json"
    assert Store.at("memory://me:secret@one/a.bin").address == "memory://one/a.bin"
    assert Store.at("memory://container@account/a.bin").address == "memory://container@account/a.bin"
    assert Store.at("https://host/a.bin").beside(".json").path == "https://host/a.json"


@pytest.mark.parametrize("content", [None, b""])
def test_missing_and_empty_files_are_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.bin").write_bytes(content)
    store = Store.at(str(tmp_path / "a.bin"))
    assert not store.exists()
    with pytest.raises(DatasetError, match=r"a\.bin is missing or empty: run the node that makes it"):
        store.read()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    store = Store.at(str(tmp_path / "a.bin"))
    store.write(b"old")

    def full(_: int) -> None:
        raise OSError(code, "no room")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatasetError, match=r"disk full while writing .*a\.bin: make room"):
        store.write(b"new")
    assert store.read() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_an_interrupt_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.at(str(tmp_path / "a.bin"))
    store.write(b"old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        store.write(b"new")
    assert store.read() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_other_errors_are_not_called_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        Store.at(str(tmp_path / "folder")).write(b"data")
    assert names(tmp_path) == ["folder"]


def test_readers_among_writers_see_whole_files(tmp_path: Path) -> None:
    store = Store.at(str(tmp_path / "a.bin"))
    payloads = [bytes([k]) * 300_000 for k in range(8)]
    store.write(payloads[0])
    with ThreadPoolExecutor(8) as pool:
        writes = [pool.submit(store.write, payload) for payload in payloads * 5]
        seen = [store.read() for _ in range(40)]
        for write in writes:
            write.result()
    assert set(seen) | {store.read()} <= set(payloads)
    assert names(tmp_path) == ["a.bin"]


def test_files_have_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    Store.at(str(tmp_path / "a.bin")).write(b"data")
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("filepath", ["a.json", "bucket:///b/a.json"])
@pytest.mark.parametrize("kind", [JSONDataset, ImageSetDataset])
def test_it_finds_the_file_of_a_dataset(tmp_path: Path, kind: type[AbstractDataset], filepath: str) -> None:
    filepath = filepath if "://" in filepath else str(tmp_path / filepath)
    store = Store.of(kind(filepath=filepath, credentials=KEY if "://" in filepath else None))
    assert store is not None
    assert store.address == filepath
    assert not store.exists()
    store.write(b"{}")
    assert store.exists()
    store.system.rm_file(store.path)
    assert Store.of(MemoryDataset()) is None


def test_a_remote_file_is_on_disk_temporarily(tmp_path: Path) -> None:
    remote = Store.at("bucket://b/copied/report.html", KEY)
    remote.write(b"<html>")
    with remote.on_disk() as file:
        assert (file.name, file.read_bytes()) == ("report.html", b"<html>")
    assert not file.parent.exists()
    local = Store.at(str(tmp_path / "report.html"))
    local.write(b"<html>")
    with local.on_disk() as file:
        assert file == tmp_path / "report.html"
    assert file.exists()


def test_how_old_a_file_is(tmp_path: Path) -> None:
    for store in (Store.at(str(tmp_path / "a")), Store.at("memory://ages/a"), Store.at("bucket://ages/a", KEY)):
        assert store.modified() is None
        before = time.time()
        store.write(b"data")
        assert int(before) <= store.modified() <= time.time() + 0.01
    (tmp_path / "old").write_bytes(b"data")
    os.utime(tmp_path / "old", (12.5, 12.5))
    assert Store.at(str(tmp_path / "old")).modified() == 12.5


def test_where_no_times_are_kept_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.at("memory://timeless/a")
    store.write(b"data")
    monkeypatch.setattr(type(store.system), "modified", fsspec.AbstractFileSystem.modified)
    assert store.modified() is None
