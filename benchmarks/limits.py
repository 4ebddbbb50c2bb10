"""How close the learning floor comes to what the machine can do: `python -m benchmarks.limits`.

Per model, in one run: images per second of the bare forward-backward pass (data on the device, no optimizer, no views),
of a fit's steps from stored soft labels, of labelling, and of evaluation; as multiply-adds per second, a share of what
the machine's own matrix product reaches (bf16 and fp32); and what a step's time goes to, by a profile of it.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.common import (
    ALPHA,
    AUGMENTATION,
    EPOCHS,
    TEMPERATURE,
    VIEWS,
    as_checkpoint,
    machine,
    network,
    random_images,
    shares,
    spread,
)
from benchmarks.gpu.measure import matmul_rate, median_seconds, seconds_of, steps_of
from benchmarks.step_profile import step_profile
from knowledge_transfer.learning.data.domains import parts_of
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.evaluation.predict import multiply_adds, predict
from knowledge_transfer.learning.hardware import autocast, has_native_bf16, resolve_device
from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.losses.objective import DistillationObjective
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions, Trainer

MODELS = ("simple_cnn", "resnet8", "squeezenet", "vgg19", "resnet50")
BACKWARD = 3  # a training step is a forward pass, and a gradient by inputs and by weights of the same cost each
_SECONDS = 1.5  # of work between two looks at the clock


@dataclass(frozen=True)
class Rates:
    """Images per second of one model, a list of repeats each, and its multiply-adds per image."""

    multiply_adds: int
    bare: list[float]
    steps: list[float]
    labelling: list[float]
    evaluation: list[float]


def bare_pass(kind: str, batch_size: int, device: torch.device) -> Callable[[], None]:
    """Return a forward-backward pass of the model on one batch of the device: the least that a step can be."""
    net = network(kind).to(device).to(memory_format=torch.channels_last).train()
    pixels = torch.randn(batch_size, 3, 32, 32, device=device).to(memory_format=torch.channels_last)
    labels = torch.arange(batch_size, device=device) % 10

    def work() -> None:
        with autocast(device, "auto"):
            logits = net.body(pixels).float()
        net.zero_grad(set_to_none=True)
        F.cross_entropy(logits, labels).backward()

    return work


def learner_of(
    kind: str, batch_size: int, device: torch.device, *, width: float = 1.0, batches: int = VIEWS
) -> Trainer:
    """Return a learner of so many batches of images that is taught by stored soft labels, 8 views of each image."""
    images = random_images(batches * batch_size)
    said = torch.randn(len(images), VIEWS, 10)
    objective = DistillationObjective(said, losses.resolve("kl", {"temperature": TEMPERATURE}), ALPHA, view_seed=0)
    recipe = Recipe(epochs=EPOCHS, batch_size=batch_size, learning_rate=1e-3, views=VIEWS, augmentation=AUGMENTATION)
    return Trainer(network(kind, width), images, recipe, FitOptions(kind, 0, device, objective))


def step_of(learner: Trainer) -> Callable[[], None]:
    """Return a step of a learner, on other images each time, as an epoch takes it."""
    learner.network.train()
    order = torch.randperm(len(learner.domains))
    parts = parts_of(learner.domains[: learner.batch_size], learner.blocks, learner.device)
    batches = order.to(learner.device).split(learner.batch_size)
    taken = 0

    def work() -> None:
        nonlocal taken
        learner.step(batches[taken % len(batches)], parts, taken // len(batches), taken)
        taken += 1

    return work


def rates_of(kind: str, batch_size: int, device: torch.device, repeats: int) -> Rates:
    """Return the model's rates, the four taken in turn."""
    images = random_images(512)
    teacher, answering = as_checkpoint(network(kind), kind), network(kind)

    def labelling() -> None:
        label([teacher], images, views=1, view_seed=0, augmentation=AUGMENTATION, device=device)

    sides: dict[str, tuple[int, Callable[[], Any]]] = {
        "bare": (batch_size, bare_pass(kind, batch_size, device)),
        "steps": (batch_size, step_of(learner_of(kind, batch_size, device))),
        "labelling": (len(images), labelling),
        "evaluation": (len(images), lambda: predict(answering, images, device=device)),
    }
    counts = {name: _calls(work, device) for name, (_, work) in sides.items()}
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, (size, work) in sides.items():
            measured[name].append(size * counts[name] / seconds_of(steps_of(work, counts[name]), device))
    return Rates(multiply_adds(network(kind), 3, 32), **measured)


def _calls(work: Callable[[], Any], device: torch.device) -> int:
    """Return how many calls fill a measurement, after a warm-up."""
    return max(1, round(_SECONDS / median_seconds(work, device, 1)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="of each figure, the four of a model taken in turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--product", type=int, default=4096, help="rows of the square matrices that are multiplied")
    parser.add_argument("models", nargs="*", default=MODELS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = resolve_device(options.device)
    print(machine(device))
    measured, products = {}, []
    for kind in options.models:
        products.append([matmul_rate(device, each, options.product) for each in (torch.bfloat16, torch.float32)])
        measured[kind] = rates_of(kind, options.batch_size, device, options.repeats)
    bf16, fp32 = (statistics.median(each) for each in zip(*products, strict=True))
    print(f"matrix product {options.product}³: bf16 {bf16 / 1e9:.0f}, fp32 {fp32 / 1e9:.0f} G multiply-adds/s\n")
    limit = bf16 if has_native_bf16(device) else fp32
    for row in table(measured, limit):
        print(f"| {' | '.join(row)} |")
    for kind in options.models:
        phases, operators = step_profile(learner_of(kind, options.batch_size, device))
        print(f"\n{kind}: {shares(phases)}; operators: {shares(dict(list(operators.items())[:6]))}")


def table(measured: Mapping[str, Rates], limit: float) -> list[list[str]]:
    """Return the rows of a table; `limit` is the matrix product's rate in multiply-adds per second."""
    training, answering = ["steps, images/s", "of bare", "of the product", "bare, of the product"], ["of the product"]
    heads = [
        "model",
        "M multiply-adds",
        *training,
        "labelling, images/s",
        *answering,
        "evaluation, images/s",
        *answering,
    ]
    rows = [heads, ["---"] * len(heads)]
    for kind, rates in measured.items():
        forward = rates.multiply_adds / limit
        step = BACKWARD * forward
        pairs = [ours / bare for ours, bare in zip(rates.steps, rates.bare, strict=True)]
        rows.append(
            [
                kind,
                f"{rates.multiply_adds / 1e6:.0f}",
                spread(rates.steps),
                f"{statistics.median(pairs):.0%} ({min(pairs):.0%} … {max(pairs):.0%})",
                f"{statistics.median(rates.steps) * step:.0%}",
                f"{statistics.median(rates.bare) * step:.0%}",
                spread(rates.labelling),
                f"{statistics.median(rates.labelling) * forward:.0%}",
                spread(rates.evaluation),
                f"{statistics.median(rates.evaluation) * forward:.0%}",
            ]
        )
    return rows


if __name__ == "__main__":
    main()
