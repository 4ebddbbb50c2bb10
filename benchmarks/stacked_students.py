"""`python -m benchmarks.stacked_students`: tiny students one after another and stacked, in turn, on one device.

Both sides see the same random images, with the same recipe and number of threads. The last line is the ratio of the
two sides' images per second, the median of the repeats: above 1 stacking is faster.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.vectorized.members import learn_members


def random_images(count: int) -> ImageSet:
    """Return images of the size of MNIST's, as the networks take them."""
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, 1, 32, 32), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(count) % 10, tuple("0123456789"))


def seconds(images: ImageSet, args: argparse.Namespace, *, stack: bool) -> float:
    """Return how long training all members takes."""
    layers = {"convolutions": [[args.width]] * 2, "kernel": args.kernel, "hidden": [args.hidden]}
    began = time.perf_counter()
    learn_members(
        "members",
        {f"member{number}": LearnOptions(number, resolve_device(args.device)) for number in range(args.members)},
        Architecture.model_validate({"kind": "cnn", "layers": layers}),
        FitData(images, images.subset(torch.arange(512)), Normalisation(mean=(0.5,), deviation=(0.3,))),
        Recipe(epochs=args.epochs, batch_size=args.batch, learning_rate=0.01, views=1),
        stack=stack,
    )
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in {
        "members": 24, "images": 2560, "batch": 128, "epochs": 1, "width": 4, "kernel": 5, "hidden": 32, "repeats": 3,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    images = random_images(args.images)
    for stack in (False, True):
        seconds(images, argparse.Namespace(**{**vars(args), "members": 2}), stack=stack)  # what is done only once
    ratios = []
    for _ in range(args.repeats):
        loop, stacked = (seconds(images, args, stack=stack) for stack in (False, True))
        ratios.append(loop / stacked)
        seen = args.members * args.images * args.epochs
        print(f"one after another {seen / loop:,.0f} images/s, stacked {seen / stacked:,.0f} images/s")
    ratio = statistics.median(ratios)
    print(f"{args.members} members on {resolve_device(args.device)}, {torch.get_num_threads()} threads")
    print(f"stacked is {ratio:.2f} times as fast as one after another")


if __name__ == "__main__":
    main()
