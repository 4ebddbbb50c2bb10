"""The size and shape of the code beside their goals: `python -m benchmarks.house`, run from the root of the repository.

It needs grimp, which import-linter brings, and exits with 1 where a goal is missed.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

PACKAGE = "knowledge_transfer"
# Imports what `kedro run --pipelines=bidirectional` imports before its first node; then lists all pipelines' nodes.
PROBE = f"""
import json, sys
from pathlib import Path
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
bootstrap_project(Path.cwd())
pipelines.set_requested(["bidirectional"])
with KedroSession.create() as session:
    catalog = session.load_context().catalog
    for name in pipelines["bidirectional"].datasets():
        catalog.get(name)
    from {PACKAGE}.runners.local import runner
    ours = [module for name, module in sys.modules.items() if name.partition(".")[0] == "{PACKAGE}"]
    files = [module.__file__ for module in ours if getattr(module, "__file__", None)]
pipelines.set_requested(None)
with KedroSession.create() as session:
    session.load_context()
    functions = [node.func for pipeline in pipelines.values() for node in pipeline.nodes]
def name_of(function):
    return name_of(function.func) if hasattr(function, "func") else f"{{function.__module__}}.{{function.__qualname__}}"
print(json.dumps([files, [name_of(function) for function in functions]]))
"""


@dataclass(frozen=True)
class Measure:
    """A number, the most that it should be, and the places that miss the goal."""

    name: str
    value: int
    goal: int
    places: tuple[str, ...] = ()


def line_counts(folder: str) -> dict[Path, int]:
    """Return the number of lines of every Python file below `folder`."""
    return {file: len(file.read_text(encoding="utf-8").splitlines()) for file in sorted(Path(folder).rglob("*.py"))}


def functions_in(file: Path) -> Iterator[tuple[str, int, int]]:
    """Yield the name, lines and parameters (without `self` and `cls`) of every function in a file of `src`."""
    module = ".".join(file.relative_to("src").with_suffix("").parts)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            given = node.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
            yield f"{module}.{node.name}", lines, len([each for each in every if each.arg not in ("self", "cls")])


def is_node(name: str, nodes: set[str]) -> bool:
    """Return whether a pipeline may use the function of this full name as a node."""
    module, _, function = name.rpartition(".")
    in_nodes = module.startswith(f"{PACKAGE}.pipelines.") and module.rpartition(".")[2].startswith("nodes")
    return name in nodes or (in_nodes and not function.startswith("_"))


def imported() -> tuple[list[str], set[str]]:
    """Return the files with content that a run imports of ours, and the full names of all functions that are nodes."""
    probe = subprocess.run([sys.executable, "-c", PROBE], check=True, stdout=subprocess.PIPE, text=True)
    files, nodes = json.loads(probe.stdout.splitlines()[-1])
    bodies = {file: ast.parse(Path(file).read_text(encoding="utf-8")).body for file in files}
    return [file for file, body in bodies.items() if any(not isinstance(each, ast.Expr) for each in body)], set(nodes)


def import_circles() -> list[str]:
    """Return the circles of imports at run time; each search leaves out one import of every circle found before it."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True)
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    found: list[str] = []
    while True:
        try:
            TopologicalSorter(imports).prepare()
            return found
        except CycleError as error:  # noqa: PERF203 - a few circles at most
            circle = error.args[1]
            found.append(" > ".join(reversed(circle)))
            imports[circle[1]].discard(circle[0])


def measures() -> Iterator[Measure]:
    """Yield every number of the house."""
    source = line_counts("src")
    for folder, goal in (("src", 14_500), ("tests", 11_000), ("benchmarks", 2_900)):
        yield Measure(f"lines of {folder}", sum(line_counts(folder).values()), goal)
    too_long = tuple(f"{file} {count}" for file, count in source.items() if count > 200)
    yield Measure("lines of the longest file in src", max(source.values()), 200, too_long)
    functions = [function for file in source for function in functions_in(file)]
    lengths = sorted(lines for _, lines, _ in functions)
    yield Measure("lines of a function in src, 90th percentile", lengths[len(lengths) * 9 // 10], 20)
    folders = Counter(file.parent for file in source if file.name != "__init__.py")
    crowded = tuple(f"{folder} {count}" for folder, count in folders.items() if count > 9)
    yield Measure("most .py files in one folder of src", max(folders.values()), 9, crowded)
    files, nodes = imported()
    wide = tuple(f"{name} {count}" for name, _, count in functions if count > 8 and not is_node(name, nodes))
    yield Measure("functions of more than 8 parameters, nodes aside", len(wide), 0, wide)
    yield Measure("our modules imported by `kedro run --pipelines=bidirectional`", len(files), 85)
    yield Measure("circles of imports", len(circles := tuple(import_circles())), 0, circles)


if __name__ == "__main__":
    found = list(measures())
    missed = [each for each in found if each.value > each.goal]
    print("| number | value | goal, at most | met |\n|---|---|---|---|")
    for each in found:
        print(f"| {each.name} | {each.value:,} | {each.goal:,} | {'no' if each in missed else 'yes'} |")
    for each in missed:
        print(f"\n{each.name}:", *each.places, sep="\n- ") if each.places else None
    sys.exit(1 if missed else 0)
