"""Training from an image set larger than memory: `python -m benchmarks.scaling.larger_than_memory`.

Processes take turns to train for an epoch from a file of 2 GB: with all images in memory, and memory-mapped, a window
at a time, in a control group that allows 1 GB with cached pages of files. A process finds the file outside the system's
cache, but loading reads all of it, so that the epoch finds cached what the limit allows. Writing the file takes three
times its size of memory. Needs Linux; without the right to make a control group there is no limit, and a line says so.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ours
from benchmarks.common.machine import describe, resident_peak
from benchmarks.common.process import in_a_process, options
from benchmarks.common.text import spread, table
from knowledge_transfer.datasets import ImageSetDataset

WINDOW = 16_384
LAYERS = {"convolutions": [[16], [32]], "hidden": [64]}
NAMES = {True: "all in memory, no limit", False: "memory-mapped, a window at a time"}
_GROUPS = Path("/sys/fs/cgroup")


def write(file: Path, gigabytes: float) -> int:
    """Write a file of random images of that size; return their number."""
    images = ours.random_images(round(gigabytes * 1e9 / 3072))
    ImageSetDataset(filepath=str(file)).save(images)
    return len(images)


def forget(file: Path) -> None:
    """Remove the file from the system's cache, so that the next reader reads the disk."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def train(file: str, *, in_memory: bool) -> dict[str, Any]:
    """Return the seconds of loading, images per second of an epoch of a small network, and its peak memory in bytes."""
    began = time.perf_counter()
    images = ImageSetDataset(filepath=file).load()
    if in_memory:
        images = ours.ImageSet(images.images.clone(), images.labels.clone(), images.class_names)
    loading = time.perf_counter() - began
    resident_peak(reset=True)
    window = None if in_memory else WINDOW
    recipe = ours.Recipe(epochs=1, batch_size=128, learning_rate=0.01, augmentation=ours.AUGMENTATION, window=window)
    trainer = ours.trainer_of(ours.architecture("cnn", layers=LAYERS), images, recipe, ours.CPU)
    rate = trainer.epoch(0).images_per_second
    return {"loading": loading, "images_per_second": rate, "resident": resident_peak()}


@contextmanager
def limited_to(size: int) -> Iterator[Path | None]:
    """Yield a control group that allows `size` bytes of memory, None where there is no right to make one."""
    is_first_version = (_GROUPS / "memory").is_dir()
    group = (_GROUPS / "memory" if is_first_version else _GROUPS) / f"larger_than_memory_{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if is_first_version else "memory.max")).write_text(str(size))
    except OSError as error:
        print(f"there is no limit ({error}): the peak of memory is all that the table shows")
        yield None
    else:
        yield group
    finally:
        if group.is_dir():
            group.rmdir()


def peak_of(group: Path) -> int:
    """Return the peak memory of a control group in bytes, with cached pages of files."""
    file = group / "memory.max_usage_in_bytes"
    return int((file if file.exists() else group / "memory.peak").read_text())


def lines(runs: dict[bool, list[dict[str, Any]]]) -> Iterator[str]:
    """Yield the table and the ratio of the rates."""
    head = ("images", "s to load and check", "images/s of an epoch", "resident memory, MB")
    yield from table(
        head,
        [
            (
                NAMES[in_memory],
                spread((run["loading"] for run in own), 1),
                spread(run["images_per_second"] for run in own),
                spread(run["resident"] / 1e6 for run in own),
            )
            for in_memory, own in runs.items()
        ],
    )
    pairs = zip(runs[True], runs[False], strict=True)
    yield f"\nratio {spread((own['images_per_second'] / whole['images_per_second'] for whole, own in pairs), 2)}"


if __name__ == "__main__":
    args = options(
        __doc__,
        gigabytes=(2.0, "size of the image set"),
        limit=(1.0, "gigabytes of memory that are allowed"),
        repeats=3,
        folder=(Path("data"), "on a disk: /tmp may be memory"),
        threads=torch.get_num_threads(),
    )
    runs: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder, limited_to(round(args.limit * 1e9)) as group:
        file = Path(folder) / "images.safetensors"
        count = write(file, args.gigabytes)
        for _ in range(args.repeats):
            for in_memory, own in runs.items():
                forget(file)
                allowed, how = None if in_memory else group, {"file": str(file), "in_memory": in_memory}
                own.append(in_a_process(train, threads=args.threads, group=allowed, **how))
        peak = peak_of(group) if group else 0
    print(f"{describe(ours.CPU)}; {count:,} images, {count * 3072 / 1e9:.2f} GB, a small CNN, window {WINDOW:,}\n")
    print(*lines(runs), sep="\n")
    if peak:
        print(f"the group had {args.limit * 1000:.0f} MB and used {peak / 1e6:.0f} MB, cached pages included")
