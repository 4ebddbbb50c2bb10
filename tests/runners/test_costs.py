"""What starts first: the longest chain of expected work."""

import heapq
import itertools
import random

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline, node

from knowledge_transfer.experiment.stage_config import Student, Target, Training
from knowledge_transfer.experiment.study_config import Model
from knowledge_transfer.runners.costs import devices_of, expected_costs, priorities

RECIPE = {"epochs": 10}


def fit(name: str, *inputs: str) -> object:
    return node(print, list(inputs), f"{name}_checkpoint", name=name, tags=["training", "gpu"])


def students(**kinds: str) -> tuple[Pipeline, DataCatalog]:
    settings = {f"params:{name}": Student(architecture={"kind": kind}) for name, kind in kinds.items()}
    values = {**settings, "params:training": Training(recipe=RECIPE)}
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in values.items()})
    return Pipeline([fit(name, f"params:{name}", "params:training") for name in kinds]), catalog


def test_resnet50_does_not_start_last() -> None:
    pipeline, catalog = students(a="simple_cnn", b="resnet8", c="resnet50", d="squeezenet")
    costs = expected_costs(pipeline, catalog)
    assert max(costs, key=costs.__getitem__) == "c"
    assert len(set(costs.values())) == 4


def test_epochs_and_images_count() -> None:
    pipeline, catalog = students(a="resnet8", b="resnet8")
    catalog["params:b"] = MemoryDataset(Student(architecture={"kind": "resnet8"}, recipe={"epochs": 30}))
    costs = expected_costs(pipeline, catalog)
    assert costs["b"] == 3 * costs["a"]
    back = {"recipe": {"epochs": 10}, "distillation": {"student_set": True}}
    catalog["params:training"] = MemoryDataset(back)
    both = expected_costs(pipeline, catalog)
    assert both["a"] == 2 * costs["a"]
    assert both["b"] == both["a"], "what changes the first training does not change the way back"


def test_what_others_wait_for_goes_first() -> None:
    pipeline = Pipeline(
        [
            node(print, "images", "student", name="student"),
            node(print, "images", "arm", name="arm"),
            node(print, "student", "target", name="target"),
        ]
    )
    assert priorities(pipeline, {"student": 2, "arm": 5, "target": 4}) == {"student": 6, "arm": 5, "target": 4}


def test_a_target_needs_several_devices_only_in_training() -> None:
    target = Target(name="vgg19", architecture={"kind": "vgg19"}, devices=4)
    catalog = DataCatalog({"params:target": MemoryDataset(target)})
    predicting = node(print, "params:target", "logits", name="predict", tags=["gpu"])
    table = node(print, "logits", "table", name="table")
    pipeline = Pipeline([fit("distil", "params:target"), predicting, table])
    assert devices_of(pipeline, catalog) == {"distil": 4, "predict": 1}


def makespan(costs: list[float], devices: int) -> float:
    """Return when the last is over if a free device takes the next of the list."""
    free = [0.0] * devices
    for cost in costs:
        heapq.heapreplace(free, free[0] + cost)
    return max(free)


def best_possible(costs: list[float], devices: int) -> float:
    """Return the least makespan of all ways to share the costs out, by branch and bound."""
    ordered = sorted(costs, reverse=True)
    best = makespan(ordered, devices)
    least = max(sum(costs) / devices, ordered[0])

    def share_out(number: int, loads: tuple[float, ...]) -> None:
        nonlocal best
        if number == len(ordered):
            best = min(best, max(loads))
            return
        for load in sorted(set(loads)):  # devices that are equally loaded are one
            if load + ordered[number] < best - 1e-9 and best > least + 1e-9:
                rest = list(loads)
                rest.remove(load)
                share_out(number + 1, (*rest, load + ordered[number]))

    share_out(0, (0.0,) * devices)
    return best


@pytest.mark.parametrize("seed", range(20))
def test_a_schedule_is_within_a_tenth_of_best(seed: int) -> None:
    """Lengths as of the roster's networks at different widths, expected within a fifth of what they take."""
    draw = random.Random(seed)
    kinds = itertools.cycle((1.0, 0.9, 4.0, 1.6))
    taken = [next(kinds) * draw.uniform(0.7, 1.4) for _ in range(12)]
    expected = {f"student{number}": cost * draw.uniform(0.9, 1.1) for number, cost in enumerate(taken)}
    pipeline = Pipeline([node(print, None, name, name=name) for name in expected])
    order = priorities(pipeline, expected)
    by_priority = sorted(range(12), key=lambda number: -order[f"student{number}"])
    assert makespan([taken[number] for number in by_priority], 4) <= 1.1 * best_possible(taken, 4)


def test_a_study_has_costs_from_one_block() -> None:
    large = Model(architecture={"kind": "imagenet_resnet50", "width": 0.25}, recipe=RECIPE)
    small = Model(architecture={"kind": "cnn", "layers": {"convolutions": [[8]]}}, recipe=RECIPE)
    catalog = DataCatalog({"params:large": MemoryDataset(large), "params:small": MemoryDataset(small)})
    costs = expected_costs(Pipeline([fit("a", "params:large"), fit("b", "params:small")]), catalog)
    assert costs["a"] > 100 * costs["b"] > 0
