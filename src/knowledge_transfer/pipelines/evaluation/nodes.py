"""Nodes of evaluation: predictions and costs of the models, and which differences are more than chance."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pandas as pd
from torch import Tensor

from knowledge_transfer.experiment.config import seed_for
from knowledge_transfer.experiment.stage_config import Roster, Target
from knowledge_transfer.learning.checkpoint import Checkpoint, require_one_lineage, require_present_images
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.evaluation.metrics import (
    OF_DISTRIBUTIONS,
    mcnemar,
    paired_bootstrap,
    score,
    standard_error,
)
from knowledge_transfer.learning.evaluation.predict import images_per_second, multiply_adds
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.pipelines.evaluation.comparisons import (
    ACCURACY,
    JOINT_ACCURACY,
    Comparison,
    comparisons_of,
    comparisons_of_mix,
    verdict,
)
from knowledge_transfer.pipelines.evaluation.predictions import (
    MAIN_RULE,
    UNAUGMENTED,
    Prediction,
    accuracy,
    by_key,
    predictions_of,
    rows_of,
    strongest_student,
)

_RESAMPLES = 10_000


def predict_images(
    images: ImageSet, student_images: ImageSet, transfer_images: ImageSet, device: str, *models: Checkpoint
) -> SoftLabels:
    """Return the logits of each model on images of all domains. Raises ValueError for models of other sets or runs."""
    facts = [model.facts for model in models]
    require_one_lineage(facts)
    require_present_images(facts, student_images, transfer_images)
    return label(
        list(models),
        images,
        views=1,
        view_seed=0,
        augmentation=UNAUGMENTED,
        device=resolve_device(device),
        every_domain=True,
    )


def measure_costs(images: ImageSet, device: str, *models: Checkpoint) -> pd.DataFrame:
    """Return parameters, multiply-adds per image, images per second and warning of each model."""
    # Once for each network: two fits of one network differ in speed by nothing but noise.
    rates: dict[tuple[Architecture, int], tuple[int, float]] = {}
    rows = []
    for model in models:
        facts = model.facts
        network = facts.architecture, len(facts.class_names)
        if network not in rates:
            macs = multiply_adds(model.build(), facts.channels, facts.image_size)
            rates[network] = macs, images_per_second(model.build(), images, device=resolve_device(device))
        rows.append((facts.key, facts.parameters, *rates[network], facts.warning or None))
    return pd.DataFrame(rows, columns=["model", "parameters", "macs", "images_per_second", "warning"])


def score_models(
    test: SoftLabels,
    test_images: ImageSet,
    validation: SoftLabels,
    validation_images: ImageSet,
    costs: pd.DataFrame,
    students: dict[str, Any],
    target: Target,
    rounds: int,
) -> pd.DataFrame:
    """Return one row for every model and ensemble of every round: its scores on the test images, its costs.

    In a mix a student has a row for its own domain, every other model one for each domain and one for all.
    """
    roster = Roster(tuple(students), target.name, rounds)
    predictions = predictions_of(test, test_images, validation, validation_images, roster)
    indexed = costs.set_index("model")
    return pd.DataFrame(
        _row(prediction, test_images, domain, indexed)
        for prediction in predictions.values()
        for domain in _domains_of(prediction, test_images)
    )


def _domains_of(prediction: Prediction, images: ImageSet) -> list[str]:
    domains = [block.domain for block in images.blocks]
    if len(domains) == 1:
        return domains
    return [ALL, *domains] if prediction.domain == ALL else [prediction.domain]


def _row(prediction: Prediction, images: ImageSet, domain: str, costs: pd.DataFrame) -> dict[str, Any]:
    rows = rows_of(images, domain)
    labels = images.labels[rows]
    result = score(prediction.probabilities[rows], labels)
    # A model that knows one domain alone cannot find the domain of an image.
    is_single = len(images.blocks) > 1 and prediction.domain != ALL
    members = costs.loc[list(prediction.members)]
    return {
        **prediction.model.columns,
        "domain": domain,
        "images": len(labels),
        "accuracy": result.accuracy,
        "standard_error": standard_error(result.accuracy, len(labels)),
        "joint_accuracy": math.nan if is_single else accuracy(prediction.joint[rows], labels),
        **{name: math.nan if prediction.is_vote else getattr(result, name) for name in OF_DISTRIBUTIONS},
        "parameters": int(members["parameters"].sum()),
        "macs": int(members["macs"].sum()),
        "images_per_second": 1 / float((1 / members["images_per_second"]).sum()),
        "warning": "; ".join(members["warning"].dropna()) or None if len(members) == 1 else None,
    }


def compare_models(
    test: SoftLabels,
    test_images: ImageSet,
    validation: SoftLabels,
    validation_images: ImageSet,
    students: dict[str, Any],
    target: Target,
    rounds: int,
    seed: int,
) -> pd.DataFrame:
    """Return one row for every comparison whose two models are here: their difference on the same images, a verdict."""
    roster = Roster(tuple(students), target.name, rounds)
    predictions = predictions_of(test, test_images, validation, validation_images, roster, rules=(MAIN_RULE,))
    if len(test_images.blocks) > 1:
        wanted = comparisons_of_mix(roster, {name: predictions[f"{name}@0"].domain for name in students})
    else:
        members = by_key(validation, validation_images)
        wanted = comparisons_of(roster, strongest_student(members, validation_images.labels, roster, 0))
    right = {
        ACCURACY: {key: each.probabilities.argmax(1) == test_images.labels for key, each in predictions.items()},
        JOINT_ACCURACY: {key: each.joint.argmax(1) == test_images.labels for key, each in predictions.items()},
    }
    return pd.DataFrame(_differences(wanted, right, test_images, seed))


def _differences(
    wanted: Iterator[Comparison], right: dict[str, dict[str, Tensor]], images: ImageSet, seed: int
) -> Iterator[dict[str, Any]]:
    for comparison in wanted:
        of = right[comparison.measure]
        if comparison.a in of and comparison.b in of:
            here = rows_of(images, comparison.domain)
            a, b = of[comparison.a][here], of[comparison.b][here]
            paired = mcnemar(a, b)
            pair_seed = seed_for(seed, f"{comparison.a} {comparison.b}")
            low, high = paired_bootstrap(a, b, samples=_RESAMPLES, seed=pair_seed)
            yield asdict(comparison) | asdict(paired) | {"low": low, "high": high, "verdict": verdict(paired)}
