"""`python -m benchmarks.speed.peers`: distillation from stored soft labels beside other ways to do it.

Every fit is a process of its own; sides take turns, each repeat with another seed. Teachers are trained once before.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ours
from benchmarks.common.process import in_a_process, options
from benchmarks.speed.peers.fit import SIDES, missing, run
from benchmarks.speed.peers.store import Sizes, prepare
from benchmarks.speed.peers.tables import header, lines
from benchmarks.speed.peers.task import PAIRS

_PROBE_EPOCHS = 2


def sides_of(wanted: list[str]) -> list[str]:
    """Return the sides that can run, and print how to install the others. An empty list means all but `in_step`.

    Raises SystemExit for a name that is none of a side, and for a wanted side that cannot run.
    """
    if unknown := set(wanted).difference(SIDES):
        raise SystemExit(f"no side {', '.join(unknown)}: sides are {', '.join(SIDES)}")
    advice = {side: missing(side) for side in wanted or [side for side in SIDES if side != "in_step"]}
    absent = [text for text in advice.values() if text is not None]
    if absent and wanted:
        raise SystemExit("\n".join(absent))
    for text in absent:
        print(f"left out: {text}")
    return [side for side, text in advice.items() if text is None]


def one(side: str, args: argparse.Namespace, *, pair: str, **task: Any) -> dict[str, Any]:
    """Return the numbers of one fit in a process of its own."""
    described = {
        "folder": str(args.folder),
        "batch": min(args.batch, args.images),
        "rate": args.rate or PAIRS[pair].rate,
        "width": args.width,
        "device_name": args.device,
        "epochs": args.epochs or PAIRS[pair].epochs,
        **task,
    }
    views = args.views or max(1, round(described["epochs"] * ours.VIEWS / ours.EPOCHS))
    result: dict[str, Any] = in_a_process(run, threads=args.threads, side=side, pair=pair, views=views, **described)
    return result


def faster_workers(args: argparse.Namespace, pair: str) -> int:
    """Return 0 or 2, whichever makes the tutorial's loop faster on `pair`."""
    how = {"pair": pair, "seed": 0, "epochs": _PROBE_EPOCHS}
    rates = {workers: one("tutorial", args, workers=workers, **how)["images_per_second"] for workers in (0, 2)}
    print("; ".join(f"loader with {workers} processes: {rate:.0f} images/s" for workers, rate in rates.items()))
    return max(rates, key=rates.__getitem__)


if __name__ == "__main__":
    args = options(
        __doc__,
        pair=(list(PAIRS), "pairs to run"),
        side=([""], f"sides to run, of {', '.join(SIDES)} (none: all but in_step)"),
        repeats=(5, "runs of each side, in turn, each with its seed"),
        data=(Path("data/01_raw/cifar10-jpeg"), "a folder with one folder of images per class"),
        images=(2000, "training images of the students"),
        teacher_images=5000,
        validation=(2000, "images on which accuracy is measured"),
        epochs=(int, "of every pair (none: its own)"),
        views=(int, "labelled by ours (none: 8 for every 50 epochs)"),
        batch=128,
        rate=(float, "the highest learning rate of every pair (none: its own)"),
        width=(1.0, "factor on all networks' channels"),
        teacher_epochs=8,
        threads=torch.get_num_threads(),
        workers=(int, "the loaders' processes (none: each pair's faster of 0 and 2)"),
        device="auto",
        folder=Path(tempfile.gettempdir()) / "knowledge_transfer_peers",
        json=(Path, "write every number to this file"),
    )
    sides = sides_of([side for side in args.side if side])
    # Teachers are the same for any --images.
    args.folder /= f"width{args.width:g}_epochs{args.teacher_epochs}_of{args.teacher_images}_{args.validation}"
    kinds = dict.fromkeys(kind for pair in args.pair for kind in PAIRS[pair].teachers)
    sizes = Sizes(args.images, args.teacher_images, args.validation)
    how = {"width": args.width, "epochs": args.teacher_epochs, "device": ours.resolve_device(args.device)}
    prepare(args.folder, kinds, args.data, sizes, **how)
    results = []
    for pair in args.pair:
        workers = faster_workers(args, pair) if args.workers is None else args.workers
        for seed in range(args.repeats):
            for side in sides:
                results.append(result := one(side, args, pair=pair, seed=seed, workers=workers))
                rate, reached = result["images_per_second"], result["accuracy"]
                print(f"{pair}, seed {seed}, {side}: {rate:.0f} images/s, accuracy {reached:.3f}", flush=True)
                if args.json:
                    args.json.write_text(json.dumps(results, indent=1))
    print(f"\n{header(results)}\n", *lines(results), sep="\n")
