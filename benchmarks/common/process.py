"""A measurement in a process of its own, and the command line of a benchmark."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def in_a_process(function: Callable[..., Any], *, threads: int, group: Path | None = None, **given: Any) -> Any:
    """Return what `function` returns for the JSON values `given`, called in a new process with so many threads.

    The process joins the control group `group` before its interpreter starts, so that its imports count as well. Raises
    SystemExit with the errors of a process that fails.
    """
    spec = sys.modules[function.__module__].__spec__  # a module that runs as a program is called __main__
    name = spec.name if spec else function.__module__
    join = f"echo $$ > {group / 'cgroup.procs'} && " if group else ""
    command = ["/bin/sh", "-c", f'{join}exec "$0" "$@"', sys.executable, "-m", "benchmarks.common.process"]
    done = subprocess.run(
        [*command, name, function.__name__, str(threads), json.dumps(given)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        raise SystemExit(f"{name}.{function.__name__} failed with {given}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def options(description: str | None, **known: Any) -> argparse.Namespace:
    """Return the parsed command line: each option has a default, or a tuple of its type or default and its help.

    An option whose default is a list takes several values; one with a type in place of a default may be missing.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    for name, given in known.items():
        default, text = given if isinstance(given, tuple) else (given, None)
        is_type, is_list = isinstance(default, type), isinstance(default, list)
        kind = default if is_type else type(default[0]) if is_list else type(default)
        how = {"type": kind, "default": None if is_type else default, "nargs": "+" if is_list else None, "help": text}
        parser.add_argument(f"--{name.replace('_', '-')}", **how)
    return parser.parse_args()


if __name__ == "__main__":
    module, called, count, described = sys.argv[1:]
    torch.set_num_threads(int(count))
    print(json.dumps(getattr(importlib.import_module(module), called)(**json.loads(described))))
