"""Steps that the stages of the main experiment share: label a stage's views, train one model of the roster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knowledge_transfer.experiment.config import seed_for
from knowledge_transfer.experiment.stage_config import DistillationStage, Student, Target
from knowledge_transfer.learning.checkpoint import Checkpoint, require_present_images
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.acceptance import best_choice
from knowledge_transfer.learning.distillation.config import Distillation, DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.train import (
    FitData,
    LearnOptions,
    learn,
    learn_mutually,
    transfer_through,
)
from knowledge_transfer.learning.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class StageData:
    """What every fit of an experiment reads; images of all domains, the normalisation by domain, the run's seed."""

    images: ImageSet
    validation: ImageSet
    normalisation: Mapping[str, Any]
    seed: int
    device: str


@dataclass(frozen=True, eq=False)
class StageLabels:
    """The soft labels of a stage, which `teachers`, by key and hash, gave, and how a model learns from them."""

    soft_labels: SoftLabels
    teachers: Mapping[str, str]
    config: DistillationConfig
    validation_scores: Mapping[str, Any] | None = None

    def distillation(self, images: ImageSet, domain: str, recipe: Recipe, view_seed: int) -> Distillation:
        """Return the distillation through the images of one domain.

        Raises ValueError unless the teachers labelled the recipe's views of `images`, those of all domains.
        """
        views, augmentation = DistillationStage(recipe=recipe, distillation=self.config).labelled_views
        self.soft_labels.require(images, self.teachers, views=views, view_seed=view_seed, augmentation=augmentation)
        given = self.validation_scores
        scores = None if given is None else {key: ValidationScore(**score) for key, score in given.items()}
        own = self.soft_labels.of(images, domain)
        return Distillation(own if domain == ALL else own.only(own.teachers_of(domain)), self.config, scores)


def views_of(model: type[Student] | type[Target], seed: int) -> int:
    """Return the seed of the views for distillation: one for all students, one for the target."""
    return seed_for(seed, "reverse_distillation" if model is Student else "target_distillation")


def label_stage(
    stage: DistillationStage,
    transfer_images: ImageSet,
    student_images: ImageSet,
    view_seed: int,
    device: str,
    teachers: Sequence[Checkpoint],
) -> SoftLabels:
    """Return each teacher's logits on every view of its domain's images. Raises ValueError if it saw other images."""
    require_present_images([teacher.facts for teacher in teachers], student_images, transfer_images)
    views, augmentation = stage.labelled_views
    return label(
        list(teachers),
        transfer_through(transfer_images, student_images, stage.distillation),
        views=views,
        view_seed=view_seed,
        augmentation=augmentation,
        device=resolve_device(device),
        window=stage.recipe.window,
    )


def on_labels(images: ImageSet, recipe: Recipe) -> tuple[ImageSet, Recipe]:
    """Return those of the images that have their label, and the recipe with epochs for as many steps."""
    known = images.subset(images.is_labelled)
    return known, for_as_many_steps(recipe, images, known)


def for_as_many_steps(recipe: Recipe, images: ImageSet, others: ImageSet) -> Recipe:
    """Return the recipe with the epochs on `others` that make as many steps as its own on `images`."""
    return recipe.override({"epochs": max(1, round(recipe.epochs * len(images) / len(others)))})


def train_model(
    model: Student | Target,
    data: StageData,
    recipe: Recipe,
    *,
    arm: str = "",
    round_: int = 0,
    start: Checkpoint | None = None,
    labels: StageLabels | None = None,
) -> Checkpoint:
    """Return the checkpoint of `model` after `round_`, trained on the images of its domain.

    A reference `arm` has the seed of the model itself and the views of its distillation: only the teacher differs.
    Where every teacher has collapsed, the model learns from labels alone, unless alpha 1 withholds them. Of several
    alphas and temperatures the one that is best on validation is kept. Raises ValueError for soft labels of other
    teachers, images or views, and as `learn` does.
    """
    domain, view_seed = model.domain if isinstance(model, Student) else ALL, views_of(type(model), data.seed)
    images = data.images.of(domain)
    distillation = None if labels is None else labels.distillation(data.images, domain, recipe, view_seed)
    if distillation is not None and not distillation.has_teacher and distillation.reads_labels:
        if not images.is_labelled.any():
            raise ValueError(f"{model.name}: every teacher has collapsed, and these images have no labels")
        distillation, (images, recipe) = None, on_labels(images, recipe)
    begin = start or model.start
    fit_data = FitData(images, data.validation.of(domain), model.normalised(begin, data.normalisation[domain]))
    options = LearnOptions(
        seed=seed_for(data.seed, model.name),
        device=resolve_device(data.device),
        view_seed=view_seed if arm else None,
        replicas=model.devices if isinstance(model, Target) else 1,
        freeze=model.freeze,
    )
    name = f"{model.name}_{arm}" if arm else model.name
    tried = [
        learn(name, model.architecture, fit_data, recipe, options, round_=round_, start=begin, distillation=each)
        for each in (distillation.choices if distillation is not None else (None,))
    ]
    return tried[0] if len(tried) == 1 else best_choice(tried, fit_data.validation, options.device)


def train_together(
    students: Sequence[Student],
    data: StageData,
    recipes: Sequence[Recipe],
    *,
    arm: str,
    round_: int,
    starts: Sequence[Checkpoint | None],
) -> list[Checkpoint]:
    """Return the checkpoints of students of one domain after mutual learning, as `arm`, each from its start.

    Each has the seed of the student itself, and all the views of their distillation.
    """
    begin = [start or student.start for student, start in zip(students, starts, strict=True)]
    fit_data = [
        FitData(data.images, data.validation, student.normalised(start, data.normalisation[ALL]))
        for student, start in zip(students, begin, strict=True)
    ]
    view_seed, device = views_of(Student, data.seed), resolve_device(data.device)
    options = [
        LearnOptions(seed_for(data.seed, student.name), device, view_seed, freeze=student.freeze)
        for student in students
    ]
    names = [f"{student.name}_{arm}" for student in students]
    architectures = [student.architecture for student in students]
    return learn_mutually(names, architectures, fit_data, recipes, options, round_=round_, starts=begin)
