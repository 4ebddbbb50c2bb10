"""The published experiment stage by stage, as in the pipelines: students, target, students; without reference arms."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from benchmarks.common import ours
from benchmarks.common.bench import Bench, Rows
from benchmarks.common.timing import peak_gibibytes
from benchmarks.experiment.recipes import published

Row = dict[str, Any]
Models = dict[str, ours.Checkpoint]


@dataclass
class Walk:
    """One run of the experiment: its sets, and the models of each stage by name."""

    bench: Bench
    plan: ours.Experiment
    sets: dict[str, ours.ImageSet] = field(default_factory=dict)
    normalisation: ours.Normalisation | None = None
    students: Models = field(default_factory=dict)
    target: Models = field(default_factory=dict)
    refined: Models = field(default_factory=dict)
    soft_labels: ours.SoftLabels | None = None
    validation_scores: dict[str, ours.ValidationScore] | None = None

    def cut(self) -> Row:
        """Cut the published images into the sets."""
        how, seed, test = self.plan.data_preparation, self.plan.seed, self.bench.images.test
        kept = ours.without(self.bench.images.training, test)
        own, transfer = ours.split(kept, how.transfer_fraction, seed=seed)
        students, validation = ours.split(own, how.validation_fraction, seed=seed + 1)
        mean, deviation = students.statistics()
        self.normalisation = ours.Normalisation(mean=mean, deviation=deviation)
        self.sets = {"students": students, "validation": validation, "transfer": transfer, "test": test}
        return {"images": {name: len(images) for name, images in self.sets.items()}}

    def rank(self) -> Row:
        """Predict the validation set with every student, for the fusion rules that are fitted on it."""
        members = list(self.students.values())
        self.validation_scores = ours.rank(members, self.sets["validation"], device=self.bench.device)
        return {"accuracy": {key: score.accuracy for key, score in self.validation_scores.items()}}

    def label(self, teachers: Models, name: str) -> Row:
        """Label all views of a stage with its teachers."""
        stage = self._stage(name)
        self.soft_labels = ours.label(
            list(teachers.values()),
            self._images(stage),
            views=stage.recipe.view_count,
            view_seed=ours.seed_for(self.plan.seed, name),
            augmentation=stage.recipe.augmentation,
            device=self.bench.device,
        )
        return {"views": stage.recipe.view_count, "teachers": len(teachers)}

    def train(self, name: str) -> Row:
        """Train a student on the student set's labels."""
        student = self.plan.students[name]
        recipe = self.plan.student_training.recipe.override(student.recipe)
        return self._learn(self.students, name, student.architecture, self.sets["students"], recipe)

    def distil(self, learners: Models, name: str, stage_name: str) -> Row:
        """Train the target or a student on the soft labels of a stage."""
        stage, student = self._stage(stage_name), self.plan.students.get(name)
        how = {"round_": 1, "soft_labels": self.soft_labels, "distillation": stage.distillation}
        if student is None:
            how["validation_scores"] = self.validation_scores
        elif stage.distillation.start == "trained":
            how["start"] = self.students[name]
        recipe = stage.recipe if student is None else stage.recipe.override(student.reverse_recipe)
        architecture = (student or self.plan.target).architecture
        return self._learn(learners, name, architecture, self._images(stage), recipe, **how)

    def evaluate(self, name: str) -> Row:
        """Return the accuracy of every model and of the ensembles on a set, before and after transfer."""
        images, models = self.sets[name], [*self.students.values(), *self.target.values(), *self.refined.values()]
        plain = {"views": 1, "view_seed": 0, "augmentation": ours.Augmentation(), "device": self.bench.device}
        labels = ours.label(models, images, **plain)
        predictions = dict(zip(labels.members, labels.logits[:, :, 0].float().softmax(dim=2), strict=True))
        for title, members in (("ensemble before", self.students), ("ensemble after", self.refined)):
            predictions[title] = torch.stack([predictions[each.facts.key] for each in members.values()]).mean(0)
        hits = {key: (found.argmax(1) == images.labels).float().mean() for key, found in predictions.items()}
        return {"images": len(images), "accuracy": {key: float(share) for key, share in hits.items()}}

    def _stage(self, name: str) -> ours.DistillationStage:
        stage: ours.DistillationStage = getattr(self.plan, name)
        return stage

    def _images(self, stage: ours.DistillationStage) -> ours.ImageSet:
        return ours.transfer_through(self.sets["transfer"], self.sets["students"], stage.distillation)

    def _learn(self, learners: Models, name: str, *what: Any, **how: Any) -> Row:
        peak_gibibytes(self.bench.device)  # starts the peak again
        how |= {"validation": self.sets["validation"], "normalisation": self.normalisation}
        how |= {"seed": ours.seed_for(self.plan.seed, name), "device": self.bench.device}
        learners[name] = learned = ours.learn(name, *what, **how)
        return {
            "epochs": len(learned.curve),
            "peak_gibibytes": peak_gibibytes(self.bench.device),
            "parameters": learned.facts.parameters,
            "images_per_second": statistics.median(epoch["images_per_second"] for epoch in learned.curve),
            "validation_accuracy": learned.facts.metrics["validation_accuracy"],
        }


def stages(walk: Walk) -> dict[str, Callable[[], Row]]:
    """Return the stages in order, a row for each model of each; the last has all accuracies on the test set."""
    there, back, target = "target_distillation", "reverse_distillation", walk.plan.target.name
    return {
        "data_preparation": walk.cut,
        **{f"student_training/{name}": partial(walk.train, name) for name in walk.plan.students},
        f"{there}/rank": walk.rank,
        f"{there}/label": partial(walk.label, walk.students, there),
        f"{there}/{target}": partial(walk.distil, walk.target, target, there),
        f"{back}/label": partial(walk.label, walk.target, back),
        **{f"{back}/{name}": partial(walk.distil, walk.refined, name, back) for name in walk.plan.students},
        "evaluation/validation": partial(walk.evaluate, "validation"),
        "evaluation/test": partial(walk.evaluate, "test"),
    }


def rows(bench: Bench) -> Rows:
    """Yield the stages of one run."""
    yield from stages(Walk(bench, published(bench.sizes))).items()
