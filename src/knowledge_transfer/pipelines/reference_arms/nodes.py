"""Nodes of the reference arms: the same networks, images and steps as in distillation, without teachers or labels."""

from typing import Any

from knowledge_transfer.experiment.stage_config import MUTUAL, DistillationStage, ReverseStage, Student, Target
from knowledge_transfer.experiment.stage_steps import (
    StageData,
    StageLabels,
    for_as_many_steps,
    train_model,
    train_together,
)
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.train import transfer_through
from knowledge_transfer.learning.training.recipe import Recipe


def learn_from_labels(
    arm: str,
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    target: Target,
    stage: DistillationStage,
    rounds: int,
    seed: int,
    device: str,
    label_smoothing: float | None = None,
) -> Checkpoint:
    """Return the target trained on the labels of its transfer images, plain or smoothed (Yuan 2020).

    `all_labels`, the ceiling, has the labels of the student set and the transfer set.
    """
    through = transfer_through(transfer_images, student_images, stage.distillation)
    recipe = stage.recipe.override({} if label_smoothing is None else {"label_smoothing": label_smoothing})
    images, recipe = _labelled(through, student_images, _for_rounds(stage, recipe, rounds))
    if arm == "all_labels":
        both = transfer_images.join(student_images)
        images = both if both.is_labelled.all() else both.subset(both.is_labelled)
    data = StageData(images, validation_images, normalisation, seed, device)
    return train_model(target, data, recipe, arm=arm, round_=rounds)


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
    """Return the target taught at alpha 1 by the students before transfer; in a mix it still learns the domains."""
    images = transfer_through(transfer_images, student_images, stage.distillation)
    without = stage.distillation.model_copy(update={"alpha": 1.0, "alphas": (), "by_confidence": False})
    return train_model(
        target,
        StageData(images, validation_images, normalisation, seed, device),
        _for_rounds(stage, stage.recipe.override({"views": stage.recipe.view_count}), rounds),
        arm="no_labels",
        round_=rounds,
        labels=StageLabels(soft_labels, soft_labels.facts.teachers, without, validation_scores),
    )


def continue_student(
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    student: Student,
    stage: ReverseStage,
    rounds: int,
    seed: int,
    device: str,
    start: Checkpoint | None = None,
) -> Checkpoint:
    """Return the student trained on the labels of the images of its reverse distillation, for as many epochs."""
    through = transfer_through(transfer_images, student_images, stage.distillation)
    recipe = _for_rounds(stage, stage.recipe.override(student.reverse_recipe), rounds)
    images, recipe = _labelled(through, student_images, recipe, student.domain)
    data = StageData(images, validation_images, normalisation, seed, device)
    return train_model(student, data, recipe, arm="continued", round_=rounds, start=start)


def learn_mutually(
    transfer_images: ImageSet,
    student_images: ImageSet,
    validation_images: ImageSet,
    normalisation: dict[str, Any],
    students: dict[str, Any],
    stage: ReverseStage,
    rounds: int,
    seed: int,
    device: str,
    *starts: Checkpoint,
) -> list[Checkpoint]:
    """Return the students trained together on the images of their reverse distillation, each from its `starts`."""
    through = transfer_through(transfer_images, student_images, stage.distillation)
    roster = [Student.model_validate(student) for student in students.values()]
    recipes = []
    for student in roster:
        recipe = _for_rounds(stage, stage.recipe.override(student.reverse_recipe), rounds)
        images, recipe = _labelled(through, student_images, recipe)
        recipes.append(recipe)
    return train_together(
        roster,
        StageData(images, validation_images, normalisation, seed, device),
        recipes,
        arm=MUTUAL,
        round_=rounds,
        starts=starts or [None] * len(roster),
    )


def _labelled(
    through: ImageSet, student_images: ImageSet, recipe: Recipe, domain: str = ALL
) -> tuple[ImageSet, Recipe]:
    """Return the images of a distillation that have labels, else the student set; and epochs for as many steps.

    The steps are those on the images of `domain`.
    """
    if through.is_labelled.all():
        return through, recipe
    images = through.subset(through.is_labelled) if through.is_labelled.any() else student_images
    return images, for_as_many_steps(recipe, through.of(domain), images.of(domain))


def _for_rounds(stage: DistillationStage, recipe: Recipe, rounds: int) -> Recipe:
    """Return the recipe with the epochs of all rounds, if each round continues the model of the last."""
    return recipe.override({"epochs": recipe.epochs * (rounds if stage.distillation.start == "trained" else 1)})
