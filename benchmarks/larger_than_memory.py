"""Learning from an image set larger than memory: `python -m benchmarks.larger_than_memory`.

A file of 2 GB of images is learnt from, an epoch at a time, by processes that take turns: with all images in memory,
and memory-mapped, a window at a time, in a control group that allows 1 GB, cached pages of files included. The file is
thrown out of the system's cache before each of them, but loading reads and checks all of it, so that an epoch finds
cached what the limit allows. Printed are the seconds of loading, images per second of whole epochs, their ratio, and
peak memory. Writing the file takes three times its size of memory. Needs Linux; without the right to make a control
group the limit is left out, and said to be.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import AUGMENTATION, DEVIATION, MEAN, machine, random_images, resident_peak, spread
from knowledge_transfer.datasets import ImageSetDataset
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import build
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions, Trainer

CPU = torch.device("cpu")
WINDOW = 16_384
LAYERS = {"convolutions": [[16], [32]], "hidden": [64]}
_GROUPS = Path("/sys/fs/cgroup")


def write(file: Path, gigabytes: float) -> int:
    """Write a file of random images of that size; return how many they are."""
    images = random_images(round(gigabytes * 1e9 / 3072))
    ImageSetDataset(filepath=str(file)).save(images)
    return len(images)


def forget(file: Path) -> None:
    """Throw the file out of the system's cache, so that it is read from the disk."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def learn(file: Path, *, in_memory: bool, threads: int) -> dict[str, Any]:
    """Return the seconds of loading, images per second of an epoch of a small network, and peak memory in bytes.

    The peak is that of the epoch.
    """
    torch.set_num_threads(threads)
    began = time.perf_counter()
    images = ImageSetDataset(filepath=str(file)).load()
    if in_memory:
        images = ImageSet(images.images.clone(), images.labels.clone(), images.class_names)
    loading = time.perf_counter() - began
    resident_peak(reset=True)
    recipe = Recipe(
        epochs=1, batch_size=128, learning_rate=0.01, augmentation=AUGMENTATION, window=None if in_memory else WINDOW
    )
    torch.manual_seed(0)
    architecture = Architecture.model_validate({"kind": "cnn", "layers": LAYERS})
    network = build(architecture, classes=10, channels=3, image_size=32, mean=MEAN, deviation=DEVIATION)
    rate = Trainer(network, images, recipe, FitOptions("a", 0, CPU)).epoch(0).images_per_second
    return {"loading": loading, "images_per_second": rate, "resident": resident_peak()}


@contextmanager
def limited_to(size: int) -> Iterator[Path | None]:
    """Lend a control group that allows `size` bytes of memory, none where it cannot be made."""
    is_first_version = (_GROUPS / "memory").is_dir()
    group = (_GROUPS / "memory" if is_first_version else _GROUPS) / f"larger_than_memory_{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if is_first_version else "memory.max")).write_text(str(size))
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        print(f"no limit could be set ({error}): the peak of memory is all that is shown")
        yield None
        return
    try:
        yield group
    finally:
        group.rmdir()


def most_used(group: Path) -> int:
    """Return the most memory in bytes that a control group has used, caches of files included."""
    file = group / "memory.max_usage_in_bytes"
    return int((file if file.exists() else group / "memory.peak").read_text())


def in_a_process(file: Path, threads: int, *, in_memory: bool, group: Path | None) -> dict[str, Any]:
    """Return what `learn` does, in a process of its own and of `group`."""
    forget(file)
    how = json.dumps({"in_memory": in_memory, "threads": threads})
    # Joined before the interpreter begins: what it imports counts as well.
    join = f"echo $$ > {group / 'cgroup.procs'} && " if group else ""
    command = f'{join}exec "$0" -m benchmarks.larger_than_memory --learn "$1" "$2"'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, str(file), how], check=True, stdout=subprocess.PIPE
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the image set")
    parser.add_argument("--limit", type=float, default=1.0, help="gigabytes of memory that are allowed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("data"), help="on a disk: /tmp may be memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--learn", nargs=2, metavar=("FILE", "HOW"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.learn:
        print(json.dumps(learn(Path(options.learn[0]), **json.loads(options.learn[1]))))
        return
    runs: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    most = 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, limited_to(round(options.limit * 1e9)) as group:
        file = Path(folder) / "images.safetensors"
        count = write(file, options.gigabytes)
        for _ in range(options.repeats):
            for in_memory, own in runs.items():
                allowed = None if in_memory else group
                own.append(in_a_process(file, options.threads, in_memory=in_memory, group=allowed))
        most = most_used(group) if group else 0
    _tell(runs, count, most, options)


def _tell(runs: dict[bool, list[dict[str, Any]]], count: int, most: int, options: argparse.Namespace) -> None:
    print(f"{machine(CPU)}; {count:,} images, {count * 3072 / 1e9:.2f} GB, a small CNN, batch 128, window {WINDOW:,}")
    print("\n| images | s to load and check | images/s of an epoch | resident memory, MB |\n|---|---|---|---|")
    names = {True: "all in memory, no limit", False: "memory-mapped, a window at a time"}
    for in_memory, own in runs.items():
        told = [
            spread((run["loading"] for run in own), 1),
            spread(run["images_per_second"] for run in own),
            spread(run["resident"] / 1e6 for run in own),
        ]
        print(f"| {names[in_memory]} | {' | '.join(told)} |")
    pairs = [
        mapped["images_per_second"] / whole["images_per_second"]
        for whole, mapped in zip(runs[True], runs[False], strict=True)
    ]
    print(f"\nratio {statistics.median(pairs):.2f} ({min(pairs):.2f} … {max(pairs):.2f})")
    if most:
        print(
            f"the group was allowed {options.limit * 1000:.0f} MB and used {most / 1e6:.0f} MB, cached pages included"
        )


if __name__ == "__main__":
    main()
