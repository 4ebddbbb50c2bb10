"""The time that the target needs alone, on all training labels, to a given accuracy on the validation set.

It follows the speed runs of the field (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds"): the clock counts training
alone, without validation and without compilation.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

from benchmarks.common import ours
from benchmarks.common.bench import Bench, Rows
from benchmarks.common.timing import compiled_anew, seconds_of
from benchmarks.experiment.recipes import published


def rows(bench: Bench) -> Rows:
    """Yield a row for the target without and with compilation."""
    yield "eager", partial(_row, bench, compiled=False)
    yield "compiled", partial(_row, bench, compiled=True)


def _row(bench: Bench, *, compiled: bool) -> dict[str, Any]:
    """Return the seconds of training to each accuracy (none: never), and those of every epoch."""
    plan, device = published(bench.sizes), bench.device
    labelled = ours.without(bench.images.training, bench.images.test)
    training, validation = ours.split(labelled, plan.data_preparation.validation_fraction, seed=plan.seed)
    trainer = _trainer(bench, training)
    with compiled_anew() if compiled else nullcontext():
        once = seconds_of(partial(ours.warm_up, trainer, compiled=compiled), device)
        spent, curve = 0.0, []
        for epoch in range(trainer.recipe.epochs):
            bench.clock.require()
            spent += seconds_of(partial(trainer.epoch, epoch), device)
            hits = trainer.predict(validation)[0].argmax(1) == validation.labels
            curve.append((spent, float(hits.float().mean())))
    reached = {goal: [seconds for seconds, accuracy in curve if accuracy >= goal] for goal in bench.sizes.goals}
    return {
        "images": {"training": len(training), "validation": len(validation)},
        "epochs": trainer.recipe.epochs,
        "batch": trainer.batch_size,
        "once_seconds": once,
        "training_seconds": spent,
        "validation_accuracy": curve[-1][1],
        "seconds_to": {f"{goal:.0%}": next(iter(seconds), None) for goal, seconds in reached.items()},
        "curve": curve,
    }


def _trainer(bench: Bench, training: ours.ImageSet) -> ours.Trainer:
    plan = published(bench.sizes)
    recipe = plan.target_distillation.recipe.override({"epochs": bench.sizes.target_epochs, "views": None})
    mean, deviation = training.statistics()
    seed, name = ours.seed_for(plan.seed, plan.target.name), plan.target.name
    network = ours.network_of(
        plan.target.architecture, training, ours.Normalisation(mean=mean, deviation=deviation), seed
    )
    return ours.Trainer(network, training, recipe, ours.FitOptions(name, seed, bench.device))
