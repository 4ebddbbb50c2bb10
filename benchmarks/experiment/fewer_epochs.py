"""Whether a recipe of today reaches in less time what an earlier one reached, network by network.

`python -m benchmarks.experiment.fewer_epochs --folder FOLDER`: the folder holds one folder of images per class, such as
CIFAR-10's, or `train` with them. Students learn as many images as the student set of conf/small has, the target those
of the transfer set, from labels alone. Before and now take turns in one process, each repeat with another seed. Seconds
are those of training; accuracy is that on validation.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.common import ours
from benchmarks.common.machine import describe
from benchmarks.common.process import options
from benchmarks.common.text import spread, table, with_error
from benchmarks.experiment.recipes import configured, experiment
from knowledge_transfer.datasets.sources import image_folder

_AUGMENTATION = {"crop": 4, "flip": True}
# Those of commit ce8c2fe.
_STUDENT = {"epochs": 15, "batch_size": 64, "label_smoothing": 0.05, "augmentation": _AUGMENTATION}
_TARGET = {"epochs": 25, "batch_size": 32, "optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.05}
_TARGET |= {"views": 8, "augmentation": _AUGMENTATION}
HEAD = ("", "before: epochs", "s", "accuracy, %", "now: epochs", "s", "accuracy, %", "now − before", "time to before's")


@dataclass(frozen=True)
class Fitted:
    """The accuracy on validation after each epoch, in %, and the seconds of training until then."""

    accuracies: list[float]
    seconds: list[float]

    def seconds_to(self, accuracy: float) -> float | None:
        """Return the seconds to the first epoch of at least that accuracy, None where there is none."""
        return next((s for s, own in zip(self.seconds, self.accuracies, strict=True) if own >= accuracy), None)


@dataclass(frozen=True)
class Model:
    """A network, its recipe before and now, and the images that it learns from."""

    name: str
    architecture: ours.Architecture
    before: ours.Recipe
    now: ours.Recipe
    images: ours.ImageSet

    def fit(self, recipe: ours.Recipe, validation: ours.ImageSet, seed: int, device: torch.device) -> Fitted:
        """Return how the network learned; with the recipe of before from the first weights of before."""
        mean, deviation = self.images.statistics()
        data = ours.FitData(self.images, validation, ours.Normalisation(mean=mean, deviation=deviation))
        kind = ours.NETWORKS[self.architecture.kind]
        first = {self.architecture.kind: kind._replace(starts_as_identity=False)}
        with mock.patch.dict(ours.NETWORKS, first) if recipe is self.before else nullcontext():
            curve = ours.learn(self.name, self.architecture, data, recipe, ours.LearnOptions(seed, device)).curve
        spent = accumulate(len(self.images) / epoch["images_per_second"] for epoch in curve)
        return Fitted([100 * epoch["validation_accuracy"] for epoch in curve], list(spent))


def models(images: ours.ImageSet, count: int) -> Iterator[Model]:
    """Yield the models of conf/small, students with 63 % of `count` of the images, the target with 30 %."""
    plan = experiment(configured("small"))

    def some(share: float) -> ours.ImageSet:
        return images.subset(ours.stratified_indices(images.labels, round(share * count), seed=0))

    for student in plan.students.values():
        now = plan.student_training.recipe.override(student.recipe)
        yield Model(student.name, student.architecture, ours.Recipe(**_STUDENT), now, some(0.63))
    target = plan.target_distillation.recipe
    yield Model(plan.target.name, plan.target.architecture, ours.Recipe(**_TARGET), target, some(0.3))


def compare(model: Model, validation: ours.ImageSet, seeds: range, device: torch.device) -> tuple[str, ...]:
    """Return the cells of the model's row."""
    pairs = [[model.fit(recipe, validation, seed, device) for recipe in (model.before, model.now)] for seed in seeds]
    before, now = ([pair[side].accuracies[-1] for pair in pairs] for side in (0, 1))
    above = [own - earlier for own, earlier in zip(now, before, strict=True)]
    goal = statistics.mean(before)
    reached = [(old.seconds_to(goal) or old.seconds[-1], new.seconds_to(goal)) for old, new in pairs]
    sooner = [after / earlier for earlier, after in reached if after is not None]
    return (
        model.name,
        *_cells(model.before, [old for old, _ in pairs]),
        *_cells(model.now, [new for _, new in pairs]),
        with_error(above, 1),
        f"{spread(sooner, 2)}, {len(sooner)} of {len(pairs)}" if sooner else "not reached",
    )


def _cells(recipe: ours.Recipe, fitted: list[Fitted]) -> tuple[str, str, str]:
    accuracies = [each.accuracies[-1] for each in fitted]
    return str(recipe.epochs), spread(each.seconds[-1] for each in fitted), with_error(accuracies, 1)


if __name__ == "__main__":
    defaults: dict[str, Any] = {"images": 5000, "validation": 4000, "threads": 1, "device": "auto"}
    args = options(__doc__, folder=Path(), model=([""], "which (none: all)"), seeds=5, first_seed=0, **defaults)
    torch.set_num_threads(args.threads)
    device = ours.resolve_device(args.device)
    published = image_folder.read(args.folder, "train", 32)
    few = published.subset(ours.stratified_indices(published.labels, args.images + args.validation, seed=0))
    training, validation = ours.split(few, args.validation / len(few), seed=0)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    print(f"{describe(device)}; {args.images} images, {len(validation)} to validate; seeds {seeds}\n")
    print(*table(HEAD, []), sep="\n")
    for model in models(training, args.images):
        if model.name in args.model or not any(args.model):
            print(f"| {' | '.join(compare(model, validation, seeds, device))} |", flush=True)
