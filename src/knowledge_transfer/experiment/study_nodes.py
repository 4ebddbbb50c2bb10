"""Nodes that every study has: cut, train, label, teach, ask, sum up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from knowledge_transfer.experiment.config import seed_for
from knowledge_transfer.experiment.study_config import Model, StudyData
from knowledge_transfer.learning.checkpoint import Checkpoint, require_one_lineage
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.domain_mix import counts_of, thin
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import split, without
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.objective import Distillation
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.models.weights import Pretrained
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn, teachers_hashes
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.reporting.columns import summary_of

_TEST_SEED = 0  # which images test must not change with the study's seed
VIEWS = "views"  # of a study are the same for all who learn in it


def cut(
    training: ImageSet, test: ImageSet, data: StudyData, seed: int
) -> tuple[ImageSet, ImageSet, ImageSet, dict[str, Any], dict[str, Any]]:
    """Return training, validation and test set, a count of each, and how networks are to normalise.

    Training images that also occur in the test set are dropped and counted.
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
    name: str,
    repeat: int,
    images: ImageSet,
    validation: ImageSet,
    normalisation: dict[str, Any],
    model: Model,
    seed: int,
    device: str,
    start: Pretrained | None = None,
) -> Checkpoint:
    """Return the model trained on labels.

    From fresh weights, or from pretrained ones (`start`), whose normalisation it then keeps.
    """
    own = Normalisation(**normalisation) if start is None else Normalisation(mean=start.mean, deviation=start.deviation)
    return learn(
        name,
        model.architecture,
        FitData(images, validation, own),
        model.recipe,
        LearnOptions(
            seed=seed_for(seed, f"repeat {repeat}"), device=resolve_device(device), view_seed=seed_for(seed, VIEWS)
        ),
        start=start,
    )


def label_images(images: ImageSet, recipe: Recipe, seed: int, device: str, *teachers: Checkpoint) -> SoftLabels:
    """Return what each teacher says about every view that a learner with that recipe will see of the images."""
    return label(
        list(teachers),
        images,
        views=recipe.view_count,
        view_seed=seed_for(seed, VIEWS),
        augmentation=recipe.augmentation,
        device=resolve_device(device),
        window=recipe.window,
    )


def teach(
    name: str,
    repeat: int,
    distillation: DistillationConfig,
    images: ImageSet,
    validation: ImageSet,
    normalisation: dict[str, Any],
    soft_labels: SoftLabels,
    model: Model,
    seed: int,
    device: str,
    **teachers: Checkpoint,
) -> Checkpoint:
    """Return the learner taught by soft labels of its images.

    Raises ValueError for soft labels of other teachers, images or views than these.
    """
    soft_labels.require(
        images,
        teachers_hashes(teachers.values()),
        views=model.recipe.view_count,
        view_seed=seed_for(seed, VIEWS),
        augmentation=model.recipe.augmentation,
    )
    return learn(
        name,
        model.architecture,
        FitData(images, validation, Normalisation(**normalisation)),
        model.recipe,
        LearnOptions(seed=seed_for(seed, f"repeat {repeat}"), device=resolve_device(device)),
        distillation=Distillation(soft_labels, distillation),
    )


def ask(images: ImageSet, training_images: ImageSet, device: str, *models: Checkpoint) -> SoftLabels:
    """Return what each model says about the images as they are.

    Raises ValueError for a model that learned from other images than the present training set, or from another teacher
    than the one that is here.
    """
    require_one_lineage([model.facts for model in models])
    for model in models:
        if model.facts.images_sha256 != training_images.sha256:
            raise ValueError(f"{model.facts.key} learned from other images than the present set: train it again")
    return label(list(models), images, views=1, view_seed=0, augmentation=Augmentation(), device=resolve_device(device))


def summarise(rows: pd.DataFrame, run_info: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return the summary of a study, in strict JSON.

    `rows` have a model, its stage (a word for its part in the study, the data set's name first where there are
    several), and the measures that were taken; the others are null.
    """
    return summary_of(rows, run_info, seed, is_study=True)
