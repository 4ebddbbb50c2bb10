"""Nodes that studies share: split the images, train a model, label, predict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from knowledge_transfer.experiment.config import seed_for
from knowledge_transfer.experiment.study_config import Model, StudyData
from knowledge_transfer.learning.checkpoint import Checkpoint, require_one_lineage
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.domain_mix import counts_of, thin
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import split, without
from knowledge_transfer.learning.distillation.config import Distillation, DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.models.weights import Pretrained
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn, teachers_hashes
from knowledge_transfer.learning.training.recipe import Recipe

_TEST_SEED = 0  # the study's seed must not change which images the test set has
VIEWS = "views"  # of the training images; all models of a study see the same


@dataclass(frozen=True)
class Fit:
    """How one model of a study is trained; `repeat` draws initial weights and the order of the images.

    A fusion fitted on validation uses the scores of `team`. `heads` replaces the architecture's. With a `fraction`
    below 1 the model learns from its own random subset of the training images.
    """

    model: str
    repeat: int = 0
    distillation: DistillationConfig | None = None
    team: str = ""
    heads: int | None = None
    fraction: float = 1.0


def split_images(
    training: ImageSet, test: ImageSet, data: StudyData, seed: int
) -> tuple[ImageSet, ImageSet, ImageSet, dict[str, Any], dict[str, Any]]:
    """Return training, validation and test set, a report, and the normalisation.

    Training images that also occur in the test set are dropped. Raises ValueError when the two sets have different
    classes.
    """
    if training.class_names != test.class_names:
        raise ValueError(f"training classes {training.class_names} are not the test classes {test.class_names}")
    test = _limited(test, data.test_limit, _TEST_SEED)
    clean = without(training, test)
    ours, validation = split(_limited(clean, data.limit, seed), data.validation_fraction, seed=seed + 1)
    mean, deviation = ours.statistics()
    report = {
        "images": {"training": len(ours), "validation": len(validation), "test": len(test)},
        "dropped_because_in_test_set": len(training) - len(clean),
        "class_names": list(training.class_names),
        "shape": list(training.images.shape[1:]),
        "sha256": {"training": ours.sha256, "validation": validation.sha256, "test": test.sha256},
    }
    return ours, validation, test, report, Normalisation(mean=mean, deviation=deviation).model_dump(mode="json")


def _limited(images: ImageSet, limit: int | None, seed: int) -> ImageSet:
    return images if limit is None else thin(images, dict.fromkeys(counts_of(images), limit), seed=seed)


def train(
    fit: Fit,
    images: ImageSet,
    validation: ImageSet,
    normalisation: dict[str, Any],
    model: Model,
    seed: int,
    device: str,
    *,
    start: Pretrained | None = None,
    soft_labels: SoftLabels | None = None,
    validation_scores: dict[str, Any] | None = None,
    **teachers: Checkpoint,
) -> Checkpoint:
    """Return the model of `fit`, trained from fresh weights or from `start`, whose normalisation it then keeps.

    `validation_scores` are by team and teacher. Raises ValueError for soft labels of other teachers, images or views.
    """
    if start is not None:
        normalisation = {"mean": start.mean, "deviation": start.deviation}
    heads = {} if fit.heads is None else {"heads": fit.heads}
    scores = (validation_scores or {}).get(fit.team)
    return learn(
        fit.model,
        model.architecture.model_copy(update=heads),
        FitData(part_of(images, fit.fraction, fit.model, seed), validation, Normalisation(**normalisation)),
        model.recipe,
        LearnOptions(seed_for(seed, f"repeat {fit.repeat}"), resolve_device(device), seed_for(seed, VIEWS)),
        start=start,
        distillation=distillation_of(fit.distillation, soft_labels, images, teachers, model.recipe, seed, scores),
    )


def distillation_of(
    config: DistillationConfig | None,
    soft_labels: SoftLabels | None,
    images: ImageSet,
    teachers: Mapping[str, Checkpoint],
    recipe: Recipe,
    seed: int,
    validation_scores: Mapping[str, Any] | None = None,
) -> Distillation | None:
    """Return the distillation of the teachers' soft labels, none without configuration or soft labels.

    Raises ValueError for labels of other images, teachers or views than the recipe's.
    """
    if config is None or soft_labels is None:
        return None
    hashes = teachers_hashes(teachers.values())
    own = soft_labels.only(list(hashes))
    view_seed = seed_for(seed, VIEWS)
    own.require(images, hashes, views=recipe.view_count, view_seed=view_seed, augmentation=recipe.augmentation)
    if validation_scores is None:
        return Distillation(own, config)
    return Distillation(own, config, {key: ValidationScore(**each) for key, each in validation_scores.items()})


def part_of(images: ImageSet, fraction: float, model: str, seed: int) -> ImageSet:
    """Return the part of the images that `model` learns from, every class in proportion; all of them at fraction 1."""
    if fraction == 1:
        return images
    return thin(images, {ALL: round(fraction * len(images))}, seed=seed_for(seed, f"part of {model}"))


def label_images(images: ImageSet, learner: Model, seed: int, device: str, *teachers: Checkpoint) -> SoftLabels:
    """Return each teacher's logits for every view of the images that a learner with this recipe sees."""
    return label(
        list(teachers),
        images,
        views=learner.recipe.view_count,
        view_seed=seed_for(seed, VIEWS),
        augmentation=learner.recipe.augmentation,
        device=resolve_device(device),
        window=learner.recipe.window,
    )


def predict_images(
    fractions: Mapping[str, float],
    images: ImageSet,
    training_images: ImageSet,
    seed: int,
    device: str,
    *models: Checkpoint | list[Checkpoint],
) -> SoftLabels:
    """Return the logits of each model on the images without augmentation; a list is a group of models.

    `fractions` are those of models that saw a subset. Raises ValueError for other training images or teachers.
    """
    every = [each for model in models for each in (model if isinstance(model, list) else [model])]
    require_one_lineage([model.facts for model in every])
    for facts in (model.facts for model in every):
        own = part_of(training_images, fractions.get(facts.name, 1), facts.name, seed)
        if facts.images_sha256 != own.sha256:
            raise ValueError(f"{facts.key} learned from other images than the present set: train it again")
    return label(every, images, views=1, view_seed=0, augmentation=Augmentation(), device=resolve_device(device))
