"""The scheduler with a pool that runs nothing: which node starts when, whatever happens to the others."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node

from knowledge_transfer.errors import RunError
from knowledge_transfer.runners.hook_specs import add_specs
from knowledge_transfer.runners.messages import Done, Failed, Killed, TaskEvent, TaskSpec
from knowledge_transfer.runners.scheduler import NodeError, Scheduler


class PaperPool:
    """A pool whose nodes end in the order in which they started, with the outcome of `ends`, else well."""

    def __init__(self, devices: int, ends: Callable[[TaskSpec], Any] = lambda _: None) -> None:
        self.devices = tuple(f"device{number}" for number in range(devices))
        self.free, self.is_cpu_free = devices, True
        self.ends = ends
        self.running: list[TaskSpec] = []
        self.started: list[str] = []

    def has_capacity(self, devices: int) -> bool:
        return self.free >= devices if devices else self.is_cpu_free

    def submit(self, task: TaskSpec) -> tuple[str, ...]:
        self.free -= task.devices
        self.is_cpu_free &= task.devices > 0
        self.running.append(task)
        self.started.append(task.node.name)
        return ("somewhere",)

    def next_events(self) -> Sequence[TaskEvent]:
        task = self.running.pop(0)
        self.free += task.devices
        self.is_cpu_free |= task.devices == 0
        return [TaskEvent(task, self.ends(task) or Done(dict.fromkeys(task.returned, 0)))]

    def fetch(self, kept: Any) -> Any:
        return kept

    def stop(self) -> None: ...


def fits(**needs: str | None) -> Pipeline:
    return Pipeline([node(print, needed, name, name=name) for name, needed in needs.items()])


def scheduler(
    pipeline: Pipeline, pool: PaperPool, devices: dict[str, int], priorities: dict[str, float] | None = None
) -> Scheduler:
    hooks = _create_hook_manager()
    add_specs(hooks)
    catalog = DataCatalog({name: MemoryDataset() for name in pipeline.datasets()})
    catalog.save("x", 0)
    return Scheduler(pipeline, catalog, pool, hooks, devices, priorities or {})


def killed_once(name: str) -> Callable[[TaskSpec], Any]:
    return lambda task: Killed("was killed") if task.node.name == name and task.attempt == 1 else None


DEEP = {"a": "x", "b": "x", "c": "a", "d": "c", "table": "x", "report": "d"}
ALL_AT_ONCE = {"first": "x", "large": "x", "small": "x", "table": "x"}


@pytest.mark.parametrize(
    ("devices", "needs", "inputs", "priorities", "order"),
    [
        pytest.param(2, dict.fromkeys("abcd", 1), DEEP, {},
                     ["a", "b", "table", "c", "d", "report"], id="what others wait for"),
        pytest.param(1, dict.fromkeys("abcd", 1), dict.fromkeys("abcd", "x"), {"c": 2.0, "d": 1.0},
                     ["c", "d", "a", "b"], id="the most urgent first, equals by name"),
        pytest.param(2, {"first": 1, "large": 2, "small": 1}, ALL_AT_ONCE, {"first": 3.0, "large": 2.0},
                     ["first", "table", "large", "small"], id="large is not overtaken, the table needs no device"),
    ],
)  # fmt: skip
def test_what_starts_when(
    devices: int, needs: dict[str, int], inputs: dict[str, str], priorities: dict[str, float], order: list[str]
) -> None:
    pool = PaperPool(devices)
    scheduler(fits(**inputs), pool, needs, priorities).run()
    assert pool.started == order


def test_a_killed_node_goes_before_all_others() -> None:
    pool = PaperPool(2, killed_once("large"))
    needs = {"large": 2, "a": 1, "b": 1, "c": 1}
    scheduler(fits(large="x", a="x", b="x", c="x"), pool, needs, {"large": 9.0}).run()
    assert pool.started == ["large", "large", "a", "b", "c"]


def test_a_killed_node_that_waits_is_not_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = PaperPool(3, killed_once("large"))
    has_capacity = pool.has_capacity
    # Its devices are not free again until `slow` is over.
    late = lambda devices: has_capacity(devices) and (devices < 2 or not pool.running)  # noqa: E731
    monkeypatch.setattr(pool, "has_capacity", late)
    needs = {"large": 2, "slow": 1, "a": 1}
    scheduler(fits(large="x", slow="x", a="x"), pool, needs, {"large": 9.0, "slow": 8.0}).run()
    assert pool.started == ["large", "slow", "large", "a"]


A, B = "a on somewhere failed: no", "b on somewhere failed: no"


@pytest.mark.parametrize(
    ("failing", "developers", "error", "message"),
    [
        ("a", "", RunError, f"^{A}$"),
        ("a", "a", NodeError, f"^{A}\nin trace$"),
        ("ab", "", RunError, f"^{A}\n{B}$"),
        ("ab", "a", NodeError, f"^{A}\nin trace\n{B}$"),
    ],
)
def test_after_a_failure_nothing_starts(failing: str, developers: str, error: type[Exception], message: str) -> None:
    def ends(task: TaskSpec) -> Failed | None:
        name = task.node.name
        return Failed("no", "in trace", is_user_error=name not in developers) if name in failing else None

    pool = PaperPool(2, ends)
    with pytest.raises(error, match=message):
        scheduler(fits(a="x", b="x", c="x", d="b"), pool, dict.fromkeys("abcd", 1)).run()
    assert pool.started == ["a", "b"]


def test_only_free_outputs_stay_in_memory() -> None:
    pool = PaperPool(1)
    seen = scheduler(fits(a="x", b="a"), pool, {"a": 1})
    seen.run()
    assert seen._made.keys() == {"b"}
    assert seen.catalog.load("b") == 0
