"""What one device gains from many tiny students at once, stacked into one network.

`python -m benchmarks.scaling.stacking` measures tiny students one after another and stacked; both take turns with the
same random images. A ratio above 1 means that stacking is faster.
"""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import torch

from benchmarks.common import ours
from benchmarks.common.bench import Bench, Rows
from benchmarks.common.machine import describe
from benchmarks.common.process import options
from benchmarks.common.timing import seconds_of

MEMBERS = {
    "members": 24,
    "images": 2560,
    "batch": 128,
    "epochs": 1,
    "width": 4,
    "kernel": 5,
    "hidden": 32,
    "repeats": 3,
}


def rows(bench: Bench) -> Rows:
    """Yield the row of stacked students."""
    sizes = bench.sizes
    how = {**MEMBERS, "members": sizes.members, "images": sizes.member_images, "repeats": sizes.repeats}
    yield f"{sizes.members} tiny students, stacked", partial(measure, bench.device, **how)


def measure(device: torch.device, **how: int) -> dict[str, Any]:
    """Return images per second of tiny students, stacked and one after another, and the median ratio of the pairs."""
    sides = [partial(_learn, device, stack=stack, **how) for stack in (False, True)]
    pairs = [[seconds_of(side, device) for side in sides] for _ in range(1 + how["repeats"])]
    pairs = pairs[1:]  # the first pair is the warm-up
    seen = how["members"] * how["images"] * how["epochs"]
    return {
        "one_after_another": [seen / loop for loop, _ in pairs],
        "together": [seen / stacked for _, stacked in pairs],
        "ratio": statistics.median(loop / stacked for loop, stacked in pairs),
    }


def _learn(device: torch.device, *, stack: bool, **how: int) -> None:
    images = ours.random_images(how["images"], channels=1)
    layers = {"convolutions": [[how["width"]]] * 2, "kernel": how["kernel"], "hidden": [how["hidden"]]}
    ours.learn_members(
        "members",
        {f"member{number}": ours.LearnOptions(number, device) for number in range(how["members"])},
        ours.architecture("cnn", layers=layers),
        ours.FitData(
            images,
            images.subset(torch.arange(min(512, len(images)))),
            ours.Normalisation(mean=(0.5,), deviation=(0.3,)),
        ),
        ours.Recipe(epochs=how["epochs"], batch_size=how["batch"], learning_rate=0.01, views=1),
        stack=stack,
    )


if __name__ == "__main__":
    given = vars(options(__doc__, **MEMBERS, device="auto"))
    chosen = ours.resolve_device(given.pop("device"))
    found = measure(chosen, **given)
    print(f"{given['members']} members; {describe(chosen)}")
    for loop, stacked in zip(found["one_after_another"], found["together"], strict=True):
        print(f"one after another {loop:,.0f} images/s, stacked {stacked:,.0f} images/s")
    print(f"stacked is {found['ratio']:.2f} times as fast as one after another")
