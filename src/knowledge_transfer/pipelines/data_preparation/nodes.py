"""Nodes of data preparation."""

import logging
from dataclasses import replace
from typing import Any

import torch

from knowledge_transfer.experiment.stage_config import DataPreparation, DataSource, Student, Target
from knowledge_transfer.learning.data.domain_mix import counts_of, mix, shared, thin
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageFiles, ImageSet
from knowledge_transfer.learning.data.splits import split, without
from knowledge_transfer.learning.train import Normalisation

logger = logging.getLogger(__name__)
_TEST_SEED = 0  # the test images do not depend on the seed of the experiment: runs of several seeds are compared


def cut_published_images(
    data: DataSource,
    domains: dict[str, Any],
    settings: DataPreparation,
    seed: int,
    unlabelled: ImageFiles | None = None,
    **published: ImageSet,
) -> tuple[ImageSet, ImageSet, ImageSet, ImageSet, dict[str, Any]]:
    """Return student, validation, transfer and test set, no image in two of them, and a report of their counts.

    `published` has `<domain>_training` and `<domain>_test`; without a mix the domain is `all`. Training images that
    also occur in a test set are dropped. `unlabelled` images that are in no other set join the transfer set, without a
    label. Raises ValueError when training and test images have different classes, and for unlabelled files that lie in
    folders or are no images.
    """
    training, test = (_mixed(published, part) for part in ("_training", "_test"))
    if training.class_names != test.class_names:
        raise ValueError(f"training classes {training.class_names} are not the test classes {test.class_names}")
    if settings.test_limit is not None:
        test = thin(test, dict.fromkeys(counts_of(test), settings.test_limit), seed=_TEST_SEED)
    clean = without(training, test)
    limits = {} if settings.limit is None else dict.fromkeys(counts_of(clean), settings.limit)
    ours, transfer = split(thin(clean, limits, seed=seed), settings.transfer_fraction, seed=seed)
    students, validation = split(ours, settings.validation_fraction, seed=seed + 1)
    transfer = shared(transfer, settings.transfer_mix, seed=seed)
    test = shared(test, settings.test_mix, seed=_TEST_SEED)
    if not settings.transfer_labels:
        transfer = transfer.without_labels()
    left_out: dict[str, str] = {}
    if unlabelled is not None:
        further, left_out = _unlabelled(unlabelled, students)
        for known in (test, students, validation, transfer):
            further = without(further, known)
        transfer = transfer.join(further.without_labels())
    sets = {"students": students, "validation": validation, "transfer": transfer, "test": test}
    report = {
        "made_from": {
            "data": data.model_dump(),
            "domains": {block.domain: domains[block.domain] for block in training.blocks if block.domain in domains},
            "mix": [block.domain for block in training.blocks],
            "data_preparation": settings.model_dump(),
            "seed": seed,
        },
        "images": {name: len(images) for name, images in sets.items()},
        "domains": {
            block.domain: {
                "images": {name: counts_of(images)[block.domain] for name, images in sets.items()},
                "class_names": list(block.class_names),
            }
            for block in training.blocks
        },
        "dropped_because_in_test_set": len(training) - len(clean),
        "unlabelled": int((~transfer.is_labelled).sum()),
        "left_out": left_out,
        "class_names": list(training.class_names),
        "shape": list(training.images.shape[1:]),
    }
    return students, validation, transfer, test, report


def _unlabelled(files: ImageFiles, like: ImageSet) -> tuple[ImageSet, dict[str, str]]:
    """Return the images of the files, prepared as those of a set are, and why others are left out."""
    if below := [name for name in files.names if "/" in name]:
        raise ValueError(f"unlabelled images lie in no class folders, but {below[0]} does: name one folder of images")
    channels, size = like.images.shape[1], like.images.shape[2]
    names, pixels, left_out = files.read(files.names, grey=channels == 1, size=size)
    if not names:
        raise ValueError(
            f"none of the {len(files.names)} unlabelled files is an image: {next(iter(left_out.values()))}"
        )
    if left_out:
        logger.warning("%d unlabelled files are left out: %s", len(left_out), next(iter(left_out.values())))
    return replace(like, images=pixels, labels=torch.zeros(len(pixels), dtype=torch.int64), groups=None), left_out


def _mixed(published: dict[str, ImageSet], part: str) -> ImageSet:
    return mix({name.removesuffix(part): images for name, images in published.items() if name.endswith(part)})


def measure_normalisation(student_images: ImageSet, students: dict[str, Any], target: Target) -> dict[str, Any]:
    """Return by domain the channel means and deviations that normalise its images; under `all` those of the mix.

    Every network tries two images of its domain first, before any is trained: raises ValueError, naming the network and
    the fault, for one that cannot learn them.
    """
    # Kedro makes models of single parameters, not of a mapping of them.
    roster = (
        Student.model_validate(each if isinstance(each, Student) else {"name": name, **each})
        for name, each in students.items()
        if each
    )
    for student in roster:
        student.require_learns(student_images.of(student.domain))
    target.require_learns(student_images)
    domains = (ALL, *(block.domain for block in student_images.blocks))
    measured = {domain: student_images.of(domain).statistics() for domain in dict.fromkeys(domains)}
    return {
        domain: Normalisation(mean=mean, deviation=deviation).model_dump(mode="json")
        for domain, (mean, deviation) in measured.items()
    }
