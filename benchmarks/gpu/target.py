"""How long the target takes by itself, on every training label, to a given accuracy on the validation set.

As the speed runs of the field are timed (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds"): seconds of training alone,
without validation and without what is done once, compiling above all.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.bench import Bench, Rows
from benchmarks.gpu.measure import compiled_anew, seconds_of
from benchmarks.gpu.recipes import published, seed_for
from knowledge_transfer.learning.data.domains import parts_of
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import split, without
from knowledge_transfer.learning.train import Normalisation, network_of
from knowledge_transfer.learning.training.trainer import FitOptions, Trainer


def rows(bench: Bench) -> Rows:
    """Yield a row for the target as it is, and one for the target compiled."""
    yield "eager", partial(_row, bench, compiled=False)
    yield "compiled", partial(_row, bench, compiled=True)


def _row(bench: Bench, *, compiled: bool) -> dict[str, Any]:
    with compiled_anew() if compiled else nullcontext():
        return _measured(bench, compiled=compiled)


def _measured(bench: Bench, *, compiled: bool) -> dict[str, Any]:
    """Return the seconds of training after which each accuracy was reached (none: never), and those of every epoch."""
    plan = published().at(bench.sizes)
    labelled = without(bench.images.training, bench.images.test)
    training, validation = split(labelled, plan.data_preparation.validation_fraction, seed=plan.seed)
    learner = _learner(bench, training)
    once = seconds_of(partial(_warm_up, learner, compiled=compiled), bench.device)
    spent, curve = 0.0, []
    for epoch in range(learner.recipe.epochs):
        bench.clock.require()
        spent += seconds_of(partial(learner.epoch, epoch), bench.device)
        logits = learner.predict(validation)[0]
        curve.append((spent, float((logits.argmax(1) == validation.labels).float().mean())))
    return {
        "images": {"training": len(training), "validation": len(validation)},
        "epochs": learner.recipe.epochs,
        "batch": learner.batch_size,
        "once_seconds": once,
        "training_seconds": spent,
        "validation_accuracy": curve[-1][1],
        "seconds_to": {
            f"{goal:.0%}": next((seconds for seconds, accuracy in curve if accuracy >= goal), None)
            for goal in bench.sizes.goals
        },
        "curve": curve,
    }


def _learner(bench: Bench, training: ImageSet) -> Trainer:
    plan, sizes = published().at(bench.sizes), bench.sizes
    recipe = plan.target_distillation.recipe.override({"epochs": sizes.target_epochs, "views": None})
    mean, deviation = training.statistics()
    seed = seed_for(plan.seed, plan.target.name)
    network = network_of(plan.target.architecture, training, Normalisation(mean=mean, deviation=deviation), seed)
    return Trainer(network, training, recipe, FitOptions(plan.target.name, seed, bench.device))


def _warm_up(learner: Trainer, *, compiled: bool) -> None:
    """Take two steps, with the forward pass compiled if so asked, and stand at the start again."""
    fresh = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    empty = learner.updater.optimizer.state_dict()
    if compiled:
        learner.forward = torch.compile(learner.network)  # type: ignore[assignment]
    indices = torch.arange(learner.batch_size, device=learner.device)
    parts = parts_of(learner.domains[: learner.batch_size], learner.blocks, learner.device)
    learner.network.train()
    for _ in range(2):
        learner.step(indices, parts, 0, 0)
    learner.load_state({"network": fresh, "optimizer": empty, "average": None})
