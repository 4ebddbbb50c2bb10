"""Measure, section by section, write the report and print its tables: `python -m benchmarks.speed --out speed.json`."""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.common import cifar10, ours
from benchmarks.common.bench import KINDS, ON_CPU, TINY, Bench, Clock, Sizes
from benchmarks.common.report import Report, Section
from benchmarks.experiment import published, target
from benchmarks.scaling import stacking
from benchmarks.speed import limits, options
from benchmarks.speed.peers import fit as peers
from benchmarks.speed.tables import lines_of

# The longest sections come last, so that a short time leaves them out; the seconds are a guess for one H100.
SECTIONS = {
    "machine": Section(limits.machine_rows, 5),
    "limits": Section(limits.rows, 40),
    "peers": Section(peers.rows, 60),
    "stacking": Section(stacking.rows, 20),
    "experiment": Section(published.rows, 240, chained=True, needs_images=True),
    "target": Section(target.rows, 60, needs_images=True),
    "options": Section(options.rows, 60),
}
_ON_CPU = ("machine", "limits", "stacking")  # the others take hours there
_WORKERS = 12
_FEW = 120, 60  # training and test images of a walk without data


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return 0, 1 where a section failed, 2 where the arguments or the machine do not allow a start."""
    args = _parser().parse_args(arguments)
    try:
        bench = _bench(args)
        report = Report(args.out, _facts(args, bench))
    except (ValueError, OSError) as error:
        print(f"the report cannot be written: {error}" if isinstance(error, OSError) else error, file=sys.stderr)
        return 2
    for name in _wanted(args):
        section = SECTIONS[name]
        report.measure(name, replace(section, seconds=0) if args.tiny else section, bench)
    print("\n".join(lines_of(report.content)))
    return int(any(entry["status"] == "failed" for entry in report.content["sections"].values()))


def _bench(args: argparse.Namespace) -> Bench:
    """Return the device, sizes, images and clock. Raises ValueError for arguments that do not fit together."""
    device, images = ours.resolve_device(args.device), _images(args)
    if device.type == "cpu" and not args.tiny and (slow := set(_wanted(args)).difference(_ON_CPU)):
        raise ValueError(f"without a GPU {', '.join(sorted(slow))} take hours: leave them out by --only, or add --tiny")
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    sizes = (TINY if args.tiny else ON_CPU if device.type == "cpu" else Sizes()).changed(" ".join(args.size))
    return Bench(device, sizes, images, Clock(60 * args.minutes), args.workers, tuple(args.model or KINDS))


def _wanted(args: argparse.Namespace) -> list[str]:
    return [name for name in SECTIONS if not args.only or name in args.only]


def _images(args: argparse.Namespace) -> cifar10.Published:
    if args.data is not None:
        found = cifar10.read(args.data)
        return cifar10.thinned(found, *_FEW) if args.tiny else found
    if args.tiny or not any(SECTIONS[name].needs_images for name in _wanted(args)):
        return cifar10.synthetic(*_FEW)
    raise ValueError("the experiment and the target need CIFAR-10: give its folder by --data, or other sections --only")


def _facts(args: argparse.Namespace, bench: Bench) -> dict[str, object]:
    images = bench.images
    return {
        "began": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "tiny": args.tiny,
        "minutes": args.minutes,
        "images": {"source": images.source, "training": len(images.training), "test": len(images.test)},
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder with cifar-10-batches-bin or cifar-10-batches-py")
    parser.add_argument("--out", type=Path, default=Path("speed.json"), help="the report, written after every row")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="a section; may be given several times")
    parser.add_argument("--model", action="append", choices=KINDS, help="of limits and options; may be given again")
    parser.add_argument("--size", action="append", default=[], help="a change such as repeats=3 or batches=[64]")
    parser.add_argument("--minutes", type=float, default=8, help="after which no row begins")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--tiny", action="store_true", help="walk through everything; the numbers mean nothing")
    workers = min(_WORKERS, os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, default=workers, help="processes of the usual image loader")
    return parser


if __name__ == "__main__":
    sys.exit(main())
