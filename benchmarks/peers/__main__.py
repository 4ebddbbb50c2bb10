"""`python -m benchmarks.peers`: distillation from stored soft labels beside what one would use instead.

Every fit is a process of its own; sides take turns, each repeat with another seed. Teachers are trained once before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import EPOCHS, VIEWS
from benchmarks.peers.one import SIDES, missing
from benchmarks.peers.store import prepare
from benchmarks.peers.tables import header, tables
from benchmarks.peers.task import PAIRS
from knowledge_transfer.learning.hardware import resolve_device

_PROBE_EPOCHS = 2


def options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.partition("\n")[0])
    parser.add_argument("--pair", action="append", choices=list(PAIRS), help="run this pair alone; may be repeated")
    parser.add_argument("--side", action="append", choices=list(SIDES), help="run this side alone; may be repeated")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side, in turn, each with its seed")
    parser.add_argument("--images", type=int, default=512, help="training images of the students")
    parser.add_argument("--epochs", type=int, help="of every pair (none: its own; all pairs take about 45 minutes)")
    parser.add_argument("--views", type=int, help="labelled by ours (none: 8 for every 50 epochs)")
    parser.add_argument("--batch", type=int, help="batch size of every pair (none: its own)")
    parser.add_argument("--rate", type=float, help="the highest learning rate of every pair (none: its own)")
    parser.add_argument("--width", type=float, default=1.0, help="factor on all networks' channels")
    parser.add_argument("--teacher-epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--workers",
        type=int,
        help="the loaders' processes (none: each pair's faster of 0 and 2)",
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "knowledge_transfer_peers")
    parser.add_argument("--json", type=Path, help="write every number to this file")
    return parser.parse_args()


def sides_of(args: argparse.Namespace) -> list[str]:
    """Return the sides that can run; those that cannot are named with what to do, and end it where they were asked for.

    Raises SystemExit for these.
    """
    told = {side: missing(side) for side in args.side or SIDES}
    absent = [text for text in told.values() if text is not None]
    if absent and args.side:
        raise SystemExit("\n".join(absent))
    for text in absent:
        print(f"left out: {text}")
    return [side for side, text in told.items() if text is None]


def one(side: str, args: argparse.Namespace, *, epochs: int, **task: Any) -> dict[str, Any]:
    """Return the numbers of one fit, run in a process of its own. Raises SystemExit with its errors where it fails."""
    told = {
        "folder": str(args.folder),
        "batch": min(args.batch or PAIRS[task["pair"]].batch, args.images),
        "rate": args.rate or PAIRS[task["pair"]].rate,
        "width": args.width,
        "device_name": args.device,
        "threads": args.threads,
        "epochs": epochs,
        "views": args.views or max(1, round(epochs * VIEWS / EPOCHS)),
        **task,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.one", side, json.dumps(told)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(args.threads)},
    )
    if done.returncode:
        raise SystemExit(f"{side} failed on {task['pair']}:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def faster_workers(args: argparse.Namespace, pair: str) -> int:
    """Return 0 or 2, with which the tutorial's loop takes less time per epoch of `pair`."""
    probes = {
        workers: one("tutorial", args, pair=pair, seed=0, epochs=_PROBE_EPOCHS, workers=workers) for workers in (0, 2)
    }
    rates = {workers: probe["images_per_second"] for workers, probe in probes.items()}
    print("; ".join(f"loader with {workers} processes: {rate:.0f} images/s" for workers, rate in rates.items()))
    return max(rates, key=rates.__getitem__)


def main() -> None:
    """Measure and print."""
    args = options()
    sides, pairs = sides_of(args), args.pair or list(PAIRS)
    args.folder /= f"width{args.width:g}_epochs{args.teacher_epochs}"  # teachers are the same for any --images
    kinds = dict.fromkeys(kind for pair in pairs for kind in PAIRS[pair].teachers)
    prepare(
        args.folder,
        kinds,
        images=args.images,
        width=args.width,
        epochs=args.teacher_epochs,
        device=resolve_device(args.device),
    )
    results = []
    for pair in pairs:
        workers = faster_workers(args, pair) if args.workers is None else args.workers
        for seed in range(args.repeats):
            for side in sides:
                epochs = args.epochs or PAIRS[pair].epochs
                result = one(side, args, pair=pair, seed=seed, epochs=epochs, workers=workers)
                results.append(result)
                rate, reached = result["images_per_second"], result["accuracy"]
                print(f"{pair}, seed {seed}, {side}: {rate:.0f} images/s, accuracy {reached:.3f}", flush=True)
                if args.json:
                    args.json.write_text(json.dumps(results, indent=1))
    print(f"\n{header(results)}\n\n{tables(results)}")


if __name__ == "__main__":
    main()
