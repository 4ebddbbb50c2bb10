"""Measure, section by section, and write the report: `python -m benchmarks.gpu --data FOLDER --out gpu.json`."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.gpu import data, experiment, limit, machine, options, peers, stacking, target
from benchmarks.gpu.bench import TINY, Bench, Clock, Sizes
from benchmarks.gpu.report import Report, Section
from knowledge_transfer.learning.hardware import resolve_device

# In this order, so that what a short time leaves out is what takes longest; seconds on one H100, as guessed.
SECTIONS = {
    "machine": Section(machine.rows, 5),
    "limit": Section(limit.rows, 40),
    "peers": Section(peers.rows, 25),
    "stacking": Section(stacking.rows, 20),
    "experiment": Section(experiment.rows, 240, chained=True, needs_images=True),
    "target": Section(target.rows, 60, needs_images=True),
    "options": Section(options.rows, 60),
}
_WORKERS = 12
_FEW = 120, 60  # training and test images of a walk without data


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, 1 where a section failed, 2 where nothing could be begun."""
    args = _parser().parse_args(arguments)
    clock = Clock(60 * args.minutes)
    wanted = {name: SECTIONS[name] for name in SECTIONS if not args.only or name in args.only}
    try:
        device = resolve_device(args.device)
        images = _images(args, is_needed=any(section.needs_images for section in wanted.values()))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if device.type == "cpu" and not args.tiny:
        print("without a GPU this takes hours: add --tiny", file=sys.stderr)
        return 2
    bench = Bench(device, TINY if args.tiny else Sizes(), images, clock, args.workers)
    facts = {
        "began": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "tiny": args.tiny,
        "minutes": args.minutes,
        "images": {"source": images.source, "training": len(images.training), "test": len(images.test)},
    }
    try:
        report = Report(args.out, facts)
    except OSError as error:
        print(f"the report cannot be written: {error}", file=sys.stderr)
        return 2
    for name, section in wanted.items():
        report.measure(name, replace(section, seconds=0) if args.tiny else section, bench)
    return int(any(entry["status"] == "failed" for entry in report.content["sections"].values()))


def _images(args: argparse.Namespace, *, is_needed: bool) -> data.Published:
    if args.data is not None:
        found = data.read(args.data)
        return data.thinned(found, *_FEW) if args.tiny else found
    if args.tiny or not is_needed:
        return data.made_up(*_FEW)
    raise ValueError("the experiment and the target need CIFAR-10: give its folder by --data, or other sections --only")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with cifar-10-batches-bin or cifar-10-batches-py")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the report, written after every row")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="a section; may be given several times")
    parser.add_argument("--minutes", type=float, default=8, help="after which nothing more is begun")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="walk through everything; the numbers mean nothing")
    workers = min(_WORKERS, os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, default=workers, help="processes of the usual image loader")
    return parser


if __name__ == "__main__":
    sys.exit(main())
