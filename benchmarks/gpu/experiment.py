"""The published experiment, stage by stage as the pipelines walk it: students, target, students; without the arms."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.bench import Bench, Rows
from benchmarks.gpu.measure import peak_gibibytes
from benchmarks.gpu.recipes import Plan, Stage, published, seed_for
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import split, without
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.objective import Distillation
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore, rank
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn, transfer_through
from knowledge_transfer.learning.training.recipe import Recipe

_BEFORE, _AFTER = "ensemble before", "ensemble after"


def rows(bench: Bench) -> Rows:
    """Yield the stages in order, a row for each model of each; the last has all accuracies on the test set."""
    plan = published().at(bench.sizes)
    walk = Walk(bench, plan)
    yield "data_preparation", walk.cut
    for name in plan.students:
        yield f"student_training/{name}", partial(walk.train, name)
    yield "target_distillation/rank", walk.rank
    yield "target_distillation/label", walk.label_by_ensemble
    yield f"target_distillation/{plan.target.name}", walk.distil_target
    yield "reverse_distillation/label", walk.label_by_target
    for name in plan.students:
        yield f"reverse_distillation/{name}", partial(walk.distil_student, name)
    yield "evaluation/validation", lambda: walk.evaluate("validation")
    yield "evaluation/test", lambda: walk.evaluate("test")


@dataclass
class Walk:
    """One run; what a stage makes is kept for those after it."""

    bench: Bench
    plan: Plan
    normalisation: Normalisation = field(init=False)
    sets: dict[str, ImageSet] = field(default_factory=dict)
    students: dict[str, Checkpoint] = field(default_factory=dict)
    refined: dict[str, Checkpoint] = field(default_factory=dict)
    target: Checkpoint | None = None
    soft_labels: SoftLabels | None = None
    validation_scores: dict[str, ValidationScore] | None = None

    def cut(self) -> dict[str, Any]:
        """Cut the published images into the sets."""
        cut, seed = self.plan.data_preparation, self.plan.seed
        test = self.bench.images.test
        clean = without(self.bench.images.training, test)
        ours, transfer = split(clean, cut.transfer_fraction, seed=seed)
        students, validation = split(ours, cut.validation_fraction, seed=seed + 1)
        mean, deviation = students.statistics()
        self.normalisation = Normalisation(mean=mean, deviation=deviation)
        self.sets = {"students": students, "validation": validation, "transfer": transfer, "test": test}
        return {"images": {name: len(images) for name, images in self.sets.items()}}

    def train(self, name: str) -> dict[str, Any]:
        """Train a student on the student set's labels."""
        student, stage = self.plan.students[name], self.plan.student_training
        self.students[name], row = self._learnt(
            name,
            student.architecture,
            self.sets["students"],
            stage.recipe.override(student.recipe),
        )
        return row

    def rank(self) -> dict[str, Any]:
        """Ask the members about the validation set, for the fusion rules that are fitted to it."""
        device = self.bench.device
        self.validation_scores = rank(list(self.students.values()), self.sets["validation"], device=device)
        return {"accuracy": {key: score.accuracy for key, score in self.validation_scores.items()}}

    def label_by_ensemble(self) -> dict[str, Any]:
        """Let every student say what it sees in the target's views."""
        return self._label(list(self.students.values()), "target_distillation", self.plan.target_distillation)

    def distil_target(self) -> dict[str, Any]:
        """Let the target learn from the ensemble."""
        stage = self.plan.target_distillation
        self.target, row = self._learnt(
            self.plan.target.name,
            self.plan.target.architecture,
            self._images(stage),
            stage.recipe,
            round_=1,
            distillation=Distillation(self.soft_labels, stage.distillation, self.validation_scores),
        )
        return row

    def label_by_target(self) -> dict[str, Any]:
        """Let the target say what it sees in the students' views."""
        teachers = [] if self.target is None else [self.target]
        return self._label(teachers, "reverse_distillation", self.plan.reverse_distillation)

    def distil_student(self, name: str) -> dict[str, Any]:
        """Let a student learn back from the target."""
        student, stage = self.plan.students[name], self.plan.reverse_distillation
        self.refined[name], row = self._learnt(
            name,
            student.architecture,
            self._images(stage),
            stage.recipe.override(student.reverse_recipe),
            round_=1,
            start=self.students[name] if stage.distillation.start == "trained" else None,
            distillation=Distillation(self.soft_labels, stage.distillation),
        )
        return row

    def evaluate(self, name: str) -> dict[str, Any]:
        """Return the accuracy of every model on a set, before and after, of the ensembles too."""
        images = self.sets[name]
        models = [*self.students.values(), *([self.target] if self.target else []), *self.refined.values()]
        said = label(models, images, views=1, view_seed=0, augmentation=Augmentation(), device=self.bench.device)
        answers = dict(zip(said.members, said.logits[:, :, 0].float().softmax(dim=2), strict=True))
        for title, members in ((_BEFORE, self.students), (_AFTER, self.refined)):
            answers[title] = torch.stack([answers[each.facts.key] for each in members.values()]).mean(0)
        right = {key: float((said.argmax(1) == images.labels).float().mean()) for key, said in answers.items()}
        return {"images": len(images), "accuracy": right}

    def _images(self, stage: Stage) -> ImageSet:
        return transfer_through(self.sets["transfer"], self.sets["students"], stage.distillation)

    def _label(self, teachers: list[Checkpoint], name: str, stage: Stage) -> dict[str, Any]:
        images, recipe = self._images(stage), stage.recipe
        self.soft_labels = label(
            teachers,
            images,
            views=recipe.view_count,
            view_seed=seed_for(self.plan.seed, name),
            augmentation=recipe.augmentation,
            device=self.bench.device,
        )
        return {"images": len(images), "views": recipe.view_count, "teachers": len(teachers)}

    def _learnt(
        self, name: str, architecture: Architecture, images: ImageSet, recipe: Recipe, **how: Any
    ) -> tuple[Checkpoint, dict[str, Any]]:
        peak_gibibytes(self.bench.device)
        checkpoint = learn(
            name,
            architecture,
            FitData(images, self.sets["validation"], self.normalisation),
            recipe,
            LearnOptions(seed_for(self.plan.seed, name), self.bench.device),
            **how,
        )
        return checkpoint, _row(checkpoint, peak_gibibytes(self.bench.device))


def _row(checkpoint: Checkpoint, peak: float | None) -> dict[str, Any]:
    return {
        "epochs": len(checkpoint.curve),
        "peak_gibibytes": peak,
        "parameters": checkpoint.facts.parameters,
        "images_per_second": statistics.median(epoch["images_per_second"] for epoch in checkpoint.curve),
        "validation_accuracy": checkpoint.facts.metrics["validation_accuracy"],
    }
