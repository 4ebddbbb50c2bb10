"""Whether two folders of results agree to the bit: `python -m benchmarks.same_results BEFORE AFTER`.

Both are what runs leave in `data/`, best made with one thread (`OMP_NUM_THREADS=1 kedro run`). Weights, images and soft
labels are compared by a hash of their tensors; tables by the numbers in common columns, JSON by those at common paths.
Durations and rates differ from run to run and are left out. Exits with 1 where anything differs or nothing is compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

TIMED = {"seconds", "seconds_left", "images_per_second", "since", "started"}
OF_THE_RUN = ("timeline", "run_info", "run_info", "device_use", "provenance", "provenance")
RENAMED = {"validation_scores": "validation_scores"}  # in the names of files, since a release


def tensors(file: Path) -> dict[str, str]:
    """Return the hex digest of every tensor of the file, by name."""
    with safe_open(file, "pt") as stored:
        return {
            name: hashlib.sha256(
                f"{tensor.dtype}{list(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes()
            ).hexdigest()
            for name in stored.keys()  # noqa: SIM118 - no mapping
            for tensor in [stored.get_tensor(name)]
        }


def columns(file: Path) -> dict[str, Any]:
    """Return the numbers of every column that is not timed, by its name."""
    table = pd.read_csv(file)
    return {name: table[name].tolist() for name in table.select_dtypes("number") if name not in TIMED}


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the path and value of every number below a JSON value that is not timed."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        if key not in TIMED:
            yield from numbers(each, f"{path}/{key}")
    if isinstance(value, int | float):
        yield path, value


def content(file: Path) -> dict[str, Any]:
    """Return what of a file is compared, by the name of each part."""
    if file.suffix == ".safetensors":
        return tensors(file)
    return columns(file) if file.suffix == ".csv" else dict(numbers(json.loads(file.read_text())))


def files(folder: Path) -> dict[str, Path]:
    """Return the files that are compared by name, in the spelling of today."""
    found = [file for kind in ("safetensors", "csv", "json") for file in sorted(folder.rglob(f"*.{kind}"))]
    return {_name(file): file for file in found if not file.stem.endswith(OF_THE_RUN)}


def _name(file: Path) -> str:
    name = f"{file.parent.name}/{file.name}"
    for before, after in RENAMED.items():
        name = name.replace(before, after)
    return name


def differences(before: Path, after: Path) -> tuple[dict[str, int], list[str]]:
    """Return how many parts were compared in how many files of each kind, and a line for each that differs."""
    ours, theirs = files(before), files(after)
    counts, lines = dict.fromkeys((".safetensors", ".csv", ".json"), 0), []
    for name in sorted(ours.keys() & theirs.keys()):
        a, b = content(ours[name]), content(theirs[name])
        counts[ours[name].suffix] += len(a.keys() & b.keys())
        lines += [f"{name}: {part}" for part in a.keys() & b.keys() if str(a[part]) != str(b[part])]
    missing = [name for name in ours.keys() - theirs.keys() if name.endswith(".safetensors")]
    return counts, lines + [f"{name}: missing" for name in sorted(missing)]


def main() -> None:
    """Print what was compared and what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    given = parser.parse_args()
    counts, lines = differences(given.before, given.after)
    print("\n".join(lines))
    print(
        f"compared {counts['.safetensors']} tensors, {counts['.csv']} columns, {counts['.json']} numbers in JSON files"
    )
    sys.exit(1 if lines or not counts[".safetensors"] else 0)


if __name__ == "__main__":
    main()
