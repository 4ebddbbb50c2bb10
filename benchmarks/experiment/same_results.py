"""Whether two folders of results agree to the bit: `python -m benchmarks.experiment.same_results BEFORE AFTER`.

Both are `data/` folders of runs with one thread (`OMP_NUM_THREADS=1 kedro run`). Weights, images and soft labels
compare by a hash of their tensors, tables by the numbers in common columns, JSON by the numbers at common paths.
Durations and rates differ from run to run and do not count. The exit code is 1 where anything differs or nothing
compares.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import safe_open

TIMED = {"milliseconds", "seconds", "seconds_left", "images_per_second", "since", "started"}
OF_THE_RUN = ("timeline", "run_facts", "run_info", "device_use", "made_with", "provenance")
RENAMED = {  # in the names of files: old spelling, new spelling
    "standings": "validation_scores",
    "answers_soft_labels": "predictions_soft_labels",
    "_suspect_seed": "_failure_mode_seed",
    "suspects_table": "failure_modes_table",
    "examination_table": "diagnosis_table",
}


def tensors(file: Path) -> dict[str, str]:
    """Return the hex digest of every tensor of the file, by name."""
    with safe_open(file, "pt") as stored:
        found = {name: stored.get_tensor(name).contiguous() for name in stored.keys()}  # noqa: SIM118 - no mapping
    heads = {name: f"{tensor.dtype}{list(tensor.shape)}".encode() for name, tensor in found.items()}
    return {name: hashlib.sha256(heads[name] + each.numpy().tobytes()).hexdigest() for name, each in found.items()}


def columns(file: Path) -> dict[str, Any]:
    """Return the numbers of every column without times, by its name."""
    table = pd.read_csv(file)
    return {name: table[name].tolist() for name in table.select_dtypes("number") if name not in TIMED}


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the path and value of every number below a JSON value, times left out."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        if key not in TIMED:
            yield from numbers(each, f"{path}/{key}")
    if isinstance(value, int | float):
        yield path, value


def content(file: Path) -> dict[str, Any]:
    """Return the parts of a file that compare, by the name of each part."""
    if file.suffix == ".safetensors":
        return tensors(file)
    return columns(file) if file.suffix == ".csv" else dict(numbers(json.loads(file.read_text())))


def files(folder: Path) -> dict[str, Path]:
    """Return the files that compare, by folder and name in the new spelling."""
    named = {}
    for file in sorted(each for kind in ("safetensors", "csv", "json") for each in folder.rglob(f"*.{kind}")):
        name = f"{file.parent.name}/{file.name}"
        for before, after in RENAMED.items():
            name = name.replace(before, after)
        if not file.stem.endswith(OF_THE_RUN):
            named[name] = file
    return named


def differences(before: Path, after: Path) -> tuple[dict[str, int], list[str], list[str]]:
    """Return the number of compared parts by kind of file, a line a difference, and files without counterpart."""
    ours, theirs = files(before), files(after)
    counts, lines = dict.fromkeys((".safetensors", ".csv", ".json"), 0), []
    for name in sorted(ours.keys() & theirs.keys()):
        a, b = content(ours[name]), content(theirs[name])
        common = a.keys() & b.keys()
        counts[ours[name].suffix] += len(common)
        lines += [f"{name}: {part}" for part in sorted(common) if str(a[part]) != str(b[part])]
    missing = sorted(name for name in ours.keys() - theirs.keys() if name.endswith(".safetensors"))
    return counts, lines, missing


if __name__ == "__main__":
    counts, lines, missing = differences(Path(sys.argv[1]), Path(sys.argv[2]))
    for line in lines:
        print(line)
    if missing:
        print(f"{len(missing)} files of tensors are in {sys.argv[1]} alone: {missing[0]} … {missing[-1]}")
    tensor_count, column_count, number_count = counts.values()
    print(f"compared {tensor_count} tensors, {column_count} columns, {number_count} numbers: {len(lines)} differ")
    sys.exit(1 if lines or not tensor_count else 0)
