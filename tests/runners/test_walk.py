"""The walk through a pipeline, with a crew that does nothing: who starts when, whatever happens to whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node

from knowledge_transfer.errors import RunError
from knowledge_transfer.runners.hook_specs import announce
from knowledge_transfer.runners.messages import Order
from knowledge_transfer.runners.reports import Killed, Report
from knowledge_transfer.runners.scheduler import NodeError, Walk
from knowledge_transfer.runners.worker import Done, Failed


class OnPaper:
    """A crew whose nodes end in the order in which they started, as `ends` says, else well."""

    def __init__(self, devices: int, ends: Callable[[Order], Any] = lambda _: None) -> None:
        self.places = tuple(f"device{number}" for number in range(devices))
        self.free, self.clerk_is_free = devices, True
        self.ends = ends
        self.running: list[Order] = []
        self.started: list[str] = []
        self.expected: list[int] = []
        self.has_stopped = False

    def has_room(self, devices: int) -> bool:
        return self.free >= devices if devices else self.clerk_is_free

    def start(self, order: Order) -> tuple[str, ...]:
        self.free -= order.devices
        self.clerk_is_free &= order.devices > 0
        self.running.append(order)
        self.started.append(order.node.name)
        return ("somewhere",)

    def expect(self, nodes: int) -> None:
        self.expected.append(nodes)

    def reports(self) -> Sequence[Report]:
        order = self.running.pop(0)
        self.free += order.devices
        self.clerk_is_free |= order.devices == 0
        return [Report(order, self.ends(order) or Done(dict.fromkeys(order.returned, 0)))]

    def fetch(self, kept: Any) -> Any:
        return kept

    def stop(self) -> None:
        self.has_stopped = True


def fits(**needs: str | None) -> Pipeline:
    return Pipeline([node(print, needed, name, name=name) for name, needed in needs.items()])


def walk(
    pipeline: Pipeline, crew: OnPaper, devices: dict[str, int], priorities: dict[str, float] | None = None
) -> Walk:
    hooks = _create_hook_manager()
    announce(hooks)
    catalog = DataCatalog({name: MemoryDataset() for name in pipeline.datasets()})
    catalog.save("x", 0)
    return Walk(pipeline, catalog, crew, hooks, devices, priorities or {})


def test_the_crew_hears_how_many_nodes_on_devices_are_left_to_start() -> None:
    crew = OnPaper(2)
    pipeline = fits(a="x", b="x", c="a", d="c", table="x", report="d")
    walk(pipeline, crew, {"a": 1, "b": 1, "c": 1, "d": 1}).go()
    assert crew.started == ["a", "b", "table", "c", "d", "report"]
    assert crew.expected[0] == 2, "c and d; the report needs no device"
    assert crew.expected == sorted(crew.expected, reverse=True)
    assert crew.expected[-1] == 0


def test_the_most_urgent_starts_first_and_equals_by_name() -> None:
    crew = OnPaper(1)
    walk(fits(a="x", b="x", c="x", d="x"), crew, dict.fromkeys("abcd", 1), {"c": 2.0, "d": 1.0}).go()
    assert crew.started == ["c", "d", "a", "b"]


def test_a_node_on_several_devices_is_not_overtaken_for_ever() -> None:
    crew = OnPaper(2)
    needs = {"first": 1, "large": 2, "small": 1}
    walk(fits(first="x", large="x", small="x", table="x"), crew, needs, {"first": 3.0, "large": 2.0}).go()
    assert crew.started == ["first", "table", "large", "small"], "who needs no device is not held up"


def killed_once(name: str) -> Callable[[Order], Any]:
    return lambda order: Killed("was killed") if order.node.name == name and order.attempt == 1 else None


def test_a_killed_node_goes_before_all_others_and_counts_as_left_to_start() -> None:
    crew = OnPaper(2, killed_once("large"))
    needs = {"large": 2, "a": 1, "b": 1, "c": 1}
    walk(fits(large="x", a="x", b="x", c="x"), crew, needs, {"large": 9.0}).go()
    assert crew.started == ["large", "large", "a", "b", "c"]
    assert crew.expected[:3] == [3, 3, 1]


def test_a_killed_node_that_waits_for_room_is_not_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = OnPaper(3, killed_once("large"))
    has_room = crew.has_room
    # Its devices are not free again until `slow` is over.
    late = lambda devices: has_room(devices) and (devices < 2 or not crew.running)  # noqa: E731
    monkeypatch.setattr(crew, "has_room", late)
    needs = {"large": 2, "slow": 1, "a": 1}
    walk(fits(large="x", slow="x", a="x"), crew, needs, {"large": 9.0, "slow": 8.0}).go()
    assert crew.started == ["large", "slow", "large", "a"]
    assert crew.expected[:2] == [1, 2], "a; then a and large again"
    assert crew.expected[-1] == 0


@pytest.mark.parametrize("is_user_error", [True, False])
def test_after_a_failure_nothing_starts_and_no_process_is_kept_for_later(is_user_error: bool) -> None:
    crew = OnPaper(2, lambda order: Failed("no", "in trace", is_user_error) if order.node.name == "a" else None)
    kind = RunError if is_user_error else NodeError
    with pytest.raises(kind, match="a on somewhere failed: no") as caught:
        walk(fits(a="x", b="x", c="x", d="b"), crew, dict.fromkeys("abcd", 1)).go()
    assert crew.started == ["a", "b"]
    assert crew.expected[0] == 2
    assert crew.expected[-1] == 0
    assert ("in trace" in str(caught.value)) is not is_user_error


def test_two_failures_are_both_told() -> None:
    crew = OnPaper(2, lambda _: Failed("no", "", is_user_error=True))
    with pytest.raises(RunError, match="a on somewhere failed: no\nb on somewhere failed: no"):
        walk(fits(a="x", b="x"), crew, dict.fromkeys("ab", 1)).go()


def test_one_failure_of_several_that_takes_a_developer_has_its_traceback_told() -> None:
    crew = OnPaper(2, lambda order: Failed("no", "in trace", is_user_error=order.node.name == "b"))
    with pytest.raises(NodeError, match=r"a on somewhere failed: no\nin trace\nb on somewhere failed: no$"):
        walk(fits(a="x", b="x"), crew, dict.fromkeys("ab", 1)).go()


def test_data_is_forgotten_when_nobody_needs_it_and_free_outputs_are_kept() -> None:
    crew = OnPaper(1)
    seen = walk(fits(a="x", b="a"), crew, {"a": 1})
    seen.go()
    assert seen._made.keys() == {"b"}
    assert seen.catalog.load("b") == 0
