"""How long `kedro run` takes to its first training step, and what of it: `python -m benchmarks.start_up`.

Every run is a process of its own, ended at its first step; the time counts from before the interpreter starts. Each
phase is named by what has ended with it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import machine, spread

# Run in the new process: notes when each phase ends, and stops it at the first step.
_PROBE = """
import json, os, sys, time
began = float(os.environ["BEGAN"])
times = {}
def note(what):
    times.setdefault(what, time.time() - began)
note("interpreter")
from kedro.framework.cli import main
note("Kedro's command line")
import importlib.abc
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torchvision", "mlflow", "matplotlib", "pandas", "torchmetrics", "sklearn", "kedro_viz"):
            note(f"(import of {name} begins)")
        if name == "knowledge_transfer.learning.training.trainer":
            note("(import of the training steps begins)")
        return None
sys.meta_path.insert(0, Watch())
from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession
load_context = KedroSession.load_context
def loaded(self):
    note("settings and hooks")
    context = load_context(self)
    note("configuration")
    return context
KedroSession.load_context = loaded
from kedro.pipeline.node import Node
run = Node.run
def ran(self, *given, **named):
    note("catalog, checks and tracking")
    if "learner" not in times:
        from knowledge_transfer.learning.training.trainer import Trainer
        times["learner"] = None
        def step(self, *given, **named):
            note("first step")
            del times["learner"]
            print(json.dumps(times))
            sys.stdout.flush()
            os._exit(0)
        Trainer.step = step
    return run(self, *given, **named)
Node.run = ran
sys.argv = ["kedro", "run", "--pipelines=bidirectional", *sys.argv[1:]]
main()
"""


def first_step(folder: Path) -> dict[str, float]:
    """Return the seconds from the start of `kedro run` to the end of each phase, `first step` the last.

    What the run makes goes to `folder`, not to the project's own.
    """
    conf = folder / "conf"
    shutil.copytree("conf", conf, ignore=shutil.ignore_patterns("local"))
    (conf / "local").mkdir()
    (conf / "local" / "globals.yml").write_text(f"folder: {folder / 'data'}\n", encoding="utf-8")
    environment = {
        **os.environ,
        "BEGAN": str(time.time()),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "CUDA_VISIBLE_DEVICES": "",  # else nodes run in processes of their own, where no step is watched
    }
    command = [sys.executable, "-c", _PROBE, f"--conf-source={conf}"]
    result: dict[str, float] = json.loads(_said(command, environment).splitlines()[-1])
    return result


def imports() -> dict[str, float]:
    """Return the seconds that each package takes to import in a new process, what it imports included."""
    code = "import time; b = time.perf_counter(); import {0}; print(time.perf_counter() - b)"
    return {
        name: float(_said([sys.executable, "-c", code.format(name)]))
        for name in ("torch", "torchvision", "pandas", "mlflow.tracking", "matplotlib.pyplot", "sklearn.metrics")
    }


def _said(command: list[str], environment: dict[str, str] | None = None) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    runs: list[dict[str, float]] = []
    alone: list[dict[str, float]] = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(first_step(Path(folder)))
        alone.append(imports())
    print(f"{machine(torch.device('cpu'))}\n\n| until | seconds since the start |\n|---|---|")
    for name in runs[0]:
        print(f"| {name} | {spread([run[name] for run in runs if name in run], 2)} |")
    print(f"\nimports alone, s: {_listed(alone)}")


def _listed(alone: list[dict[str, Any]]) -> str:
    return ", ".join(f"{name} {statistics.median(each[name] for each in alone):.1f}" for name in alone[0])


if __name__ == "__main__":
    main()
