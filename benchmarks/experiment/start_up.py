"""How long `kedro run` takes to its first training step, phase by phase: `python -m benchmarks.experiment.start_up`.

Every run is a process of its own, which ends at its first step. The time counts from before the interpreter starts. The
name of each phase is the event at its end. The first run has to make MLflow's database; the others find it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import ours
from benchmarks.common.machine import describe
from benchmarks.common.process import options
from benchmarks.common.text import spread, table

# Runs in the new process: notes the end of each phase, and stops the process at the first step.
_PROBE = """
import importlib.abc, json, os, sys, time
times = {}
def note(what):
    times.setdefault(what, time.time() - float(os.environ["BEGAN"]))
note("interpreter")
from kedro.framework.cli import main
note("Kedro's command line")
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torchvision", "mlflow", "matplotlib", "pandas", "sklearn", "kedro_viz"):
            note(f"(import of {name} begins)")
        if name == "knowledge_transfer.learning.training.trainer":
            note("(import of the trainer begins)")
sys.meta_path.insert(0, Watch())
from kedro.framework.session import KedroSession
from kedro.pipeline.node import Node
def around(owner, name, before, after=None):
    work = getattr(owner, name)
    def call(*given, **named):
        note(before)
        if owner is Node:
            watch_steps()
        result = work(*given, **named)
        if after:
            note(after)
        return result
    setattr(owner, name, call)
def watch_steps():
    from knowledge_transfer.learning.training.trainer import Trainer
    def step(*given, **named):
        note("first step")
        print(json.dumps(times), flush=True)
        os._exit(0)
    Trainer.step = step
around(KedroSession, "load_context", "settings and hooks", "configuration")
around(Node, "run", "catalog, checks and tracking")
sys.argv = ["kedro", "run", "--pipelines=bidirectional", *sys.argv[1:]]
main()
"""


def first_step(folder: Path) -> dict[str, float]:
    """Return the seconds from the start of `kedro run` to the end of each phase, `first step` the last.

    The run writes to `folder` instead of the project's own; of an earlier run it finds MLflow's database alone.
    """
    conf = folder / "conf"
    shutil.rmtree(folder / "data", ignore_errors=True)
    shutil.copytree("conf", conf, ignore=shutil.ignore_patterns("local"), dirs_exist_ok=True)
    (conf / "local").mkdir(exist_ok=True)
    (conf / "local" / "globals.yml").write_text(f"folder: {folder / 'data'}\n", encoding="utf-8")
    environment = {
        **os.environ,
        "BEGAN": str(time.time()),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "CUDA_VISIBLE_DEVICES": "",  # else nodes run in processes of their own, which the probe does not see
    }
    command = [sys.executable, "-c", _PROBE, f"--conf-source={conf}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return times


if __name__ == "__main__":
    args = options(__doc__, repeats=5)
    with tempfile.TemporaryDirectory() as folder:
        first, *runs = [first_step(Path(folder)) for _ in range(1 + args.repeats)]
    print(f"{describe(ours.CPU)}\n")
    rows = [
        (name, f"{first[name]:.2f}", spread((run[name] for run in runs if name in run), 2))
        for name in first
        if any(name in run for run in runs)
    ]
    print(*table(("seconds to the end of", "first run", "later runs"), rows), sep="\n")
