"""Nodes of the reference arms: the same networks, images and steps as in distillation, without teachers or labels."""

from __future__ import annotations

from typing import Any

from knowledge_transfer.experiment.config import DistillationStage, Evaluation, Student, Target, seed_for
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import Normalisation, learn, transfer_through
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
    return _learn(target, "labels", images, recipe, validation_images, normalisation, rounds, seed, device)


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
    return _learn(target, "label_smoothing", images, recipe, validation_images, normalisation, rounds, seed, device)


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
    return _learn(target, "all_labels", images, recipe, validation_images, normalisation, rounds, seed, device)


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
    return _learn(
        target,
        "no_labels",
        images,
        recipe,
        validation_images,
        normalisation,
        rounds,
        seed,
        device,
        soft_labels=soft_labels,
        distillation=stage.distillation.model_copy(update={"alpha": 1.0}),
        validation_scores={key: ValidationScore(**score) for key, score in validation_scores.items()},
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
    return _learn(
        student, "continued", images, recipe, validation_images, normalisation, rounds, seed, device, start=start
    )


def _as_long(stage: DistillationStage, recipe: Recipe, rounds: int) -> Recipe:
    """Return the recipe with the epochs of every round that the taught model goes on through."""
    return recipe.override({"epochs": recipe.epochs * (rounds if stage.distillation.start == "trained" else 1)})


def _learn(
    model: Target | Student,
    arm: str,
    images: ImageSet,
    recipe: Recipe,
    validation: ImageSet,
    normalisation: dict[str, Any],
    rounds: int,
    seed: int,
    device: str,
    *,
    start: Checkpoint | None = None,
    soft_labels: SoftLabels | None = None,
    distillation: DistillationConfig | None = None,
    validation_scores: dict[str, ValidationScore] | None = None,
) -> Checkpoint:
    architecture: Architecture = model.architecture
    domain = model.domain if isinstance(model, Student) else ALL
    return learn(
        f"{model.name}_{arm}",
        architecture,
        images.of(domain),
        recipe,
        validation=validation.of(domain),
        normalisation=Normalisation(**normalisation[domain]),
        # The model's own seed, not the arm's, and the stage's views: the same first weights, order of images and
        # pixels, so that pairs differ in the teacher alone.
        seed=seed_for(seed, model.name),
        view_seed=seed_for(seed, "reverse_distillation" if isinstance(model, Student) else "target_distillation"),
        device=resolve_device(device),
        replicas=model.devices if isinstance(model, Target) else 1,
        round_=rounds,
        start=start,
        soft_labels=soft_labels,
        distillation=distillation,
        validation_scores=validation_scores,
    )
