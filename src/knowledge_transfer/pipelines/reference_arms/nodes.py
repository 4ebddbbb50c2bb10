"""Nodes of the reference arms: the same networks, images and steps as in distillation, without teachers or labels."""

from __future__ import annotations

from typing import Any

from knowledge_transfer.experiment.config import DistillationStage, Evaluation, Student, Target, seed_for
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.objective import Distillation
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn, transfer_through
from knowledge_transfer.learning.training.recipe import Recipe


def learn_from_labels(
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    target: Target,
    stage: DistillationStage,
    rounds: int,
    seed: int,
    device: str,
) -> Checkpoint:
    """Return the target trained on the labels of the images that it was taught through."""
    images = transfer_through(transfer_images, student_images, stage.distillation)
    recipe = _as_long(stage, stage.recipe, rounds)
    data = FitData(images, validation_images, Normalisation(**normalisation[ALL]))
    return learn(
        f"{target.name}_labels", target.architecture, data, recipe, _options(target, seed, device), round_=rounds
    )


def learn_from_smoothed_labels(
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    target: Target,
    stage: DistillationStage,
    evaluation: Evaluation,
    rounds: int,
    seed: int,
    device: str,
) -> Checkpoint:
    """Return the target trained on the same labels, smoothed: a teacher that knows nothing (Yuan 2020)."""
    images = transfer_through(transfer_images, student_images, stage.distillation)
    recipe = _as_long(stage, stage.recipe, rounds).override({"label_smoothing": evaluation.label_smoothing})
    data = FitData(images, validation_images, Normalisation(**normalisation[ALL]))
    return learn(
        f"{target.name}_label_smoothing",
        target.architecture,
        data,
        recipe,
        _options(target, seed, device),
        round_=rounds,
    )


def learn_from_all_labels(
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    target: Target,
    stage: DistillationStage,
    rounds: int,
    seed: int,
    device: str,
) -> Checkpoint:
    """Return the target trained on the labels of every image that anyone learned from: the ceiling."""
    images = transfer_images.join(student_images)
    recipe = _as_long(stage, stage.recipe, rounds)
    data = FitData(images, validation_images, Normalisation(**normalisation[ALL]))
    return learn(
        f"{target.name}_all_labels", target.architecture, data, recipe, _options(target, seed, device), round_=rounds
    )


def learn_without_labels(
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    soft_labels: SoftLabels,
    validation_scores: dict[str, Any],
    target: Target,
    stage: DistillationStage,
    rounds: int,
    seed: int,
    device: str,
) -> Checkpoint:
    """Return the target taught by the students as they were before any transfer, alpha 1.

    Of the labels of these images nobody has seen more than the domain, in a mix.
    """
    images = transfer_through(transfer_images, student_images, stage.distillation)
    wanted = stage.recipe
    soft_labels.require(
        images,
        soft_labels.facts.teachers,
        views=wanted.view_count,
        view_seed=seed_for(seed, "target_distillation"),
        augmentation=wanted.augmentation,
    )
    recipe = _as_long(stage, wanted.override({"views": wanted.view_count}), rounds)
    distillation = Distillation(
        soft_labels,
        stage.distillation.model_copy(update={"alpha": 1.0}),
        {key: ValidationScore(**score) for key, score in validation_scores.items()},
    )
    return learn(
        f"{target.name}_no_labels",
        target.architecture,
        FitData(images, validation_images, Normalisation(**normalisation[ALL])),
        recipe,
        _options(target, seed, device),
        round_=rounds,
        distillation=distillation,
    )


def continue_student(
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    student: Student,
    stage: DistillationStage,
    rounds: int,
    seed: int,
    device: str,
    start: Checkpoint | None = None,
) -> Checkpoint:
    """Return the student trained on the labels of the images that the target taught it through, as long as that."""
    images = transfer_through(transfer_images, student_images, stage.distillation)
    recipe = _as_long(stage, stage.recipe.override(student.reverse_recipe), rounds)
    data = FitData(
        images.of(student.domain),
        validation_images.of(student.domain),
        Normalisation(**normalisation[student.domain]),
    )
    return learn(
        f"{student.name}_continued",
        student.architecture,
        data,
        recipe,
        _options(student, seed, device),
        round_=rounds,
        start=start,
    )


def _as_long(stage: DistillationStage, recipe: Recipe, rounds: int) -> Recipe:
    """Return the recipe with the epochs of every round that the taught model goes on through."""
    return recipe.override({"epochs": recipe.epochs * (rounds if stage.distillation.start == "trained" else 1)})


def _options(model: Target | Student, seed: int, device: str) -> LearnOptions:
    """Return the options of the model's own fit, not the arm's: pairs then differ in the teacher alone.

    They share first weights, order of images and, with the seed of the stage's views, pixels.
    """
    stage = "reverse_distillation" if isinstance(model, Student) else "target_distillation"
    return LearnOptions(
        seed=seed_for(seed, model.name),
        device=resolve_device(device),
        view_seed=seed_for(seed, stage),
        replicas=model.devices if isinstance(model, Target) else 1,
    )
