"""Nodes that put into tables what only a mix of domains has to tell."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

from knowledge_transfer.experiment.config import Target
from knowledge_transfer.learning.data.domains import ALL, domains_of, within_block
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.evaluation.metrics import confusion
from knowledge_transfer.pipelines.evaluation.answers import by_key
from knowledge_transfer.pipelines.evaluation.routing import MOST_CONFIDENT, routed


def count_domain_confusions(
    test: SoftLabels, test_images: ImageSet, students: dict[str, Any], target: Target, rounds: int
) -> pd.DataFrame:
    """Return how many test images of each domain each model took for which domain, the domain not being told.

    The models are the target, its reference arms and the students, routed by the most confident, before any transfer.
    """
    logits = by_key(test, test_images)
    whole = [key for key in logits if test.facts.domains[key] == ALL and key.endswith(f"@{rounds}")]
    joint = {key: logits[key].softmax(1) for key in (f"{target.name}@{rounds}", *whole)}
    _, joint[f"{MOST_CONFIDENT}@0"] = routed(
        logits, tuple(f"{name}@0" for name in students), test.facts.domains, test_images
    )
    names = [block.domain for block in test_images.blocks]
    return pd.DataFrame(
        {"model": key, "domain": names[true], "answer": names[answer], "images": int(images)}
        for key, probabilities in joint.items()
        for true, row in enumerate(_between_domains(probabilities, test_images))
        for answer, images in enumerate(row)
    )


def _between_domains(joint: Tensor, images: ImageSet) -> Tensor:
    return confusion(domains_of(joint.argmax(1), images.blocks), images.domains, len(images.blocks))


def score_classes(
    test: SoftLabels, test_images: ImageSet, students: dict[str, Any], target: Target, rounds: int
) -> pd.DataFrame:
    """Return for each class of the mix how often the target and the domain's student answer rightly.

    `accuracy` is the target's once the domain is known, `joint_accuracy` without it; `before` and `after` are the
    student's, the mean where a domain has several.
    """
    logits = by_key(test, test_images)
    domains, blocks = test_images.domains, test_images.blocks
    known = within_block(logits[f"{target.name}@{rounds}"], domains, blocks).argmax(1) == test_images.labels
    joint = logits[f"{target.name}@{rounds}"].argmax(1) == test_images.labels
    rows = []
    for block in blocks:
        own = [name for name in students if test.facts.domains[f"{name}@0"] == block.domain]
        right = {
            round_: torch.stack([logits[f"{name}@{round_}"].argmax(1) == test_images.labels for name in own]).double()
            for round_ in (0, rounds)
        }
        for number, name in enumerate(block.class_names, block.start):
            here = test_images.labels == number
            rows.append(
                {
                    "domain": block.domain,
                    "class": name,
                    "images": int(here.sum()),
                    "accuracy": float(known[here].double().mean()),
                    "joint_accuracy": float(joint[here].double().mean()),
                    "before": float(right[0][:, here].mean()),
                    "after": float(right[rounds][:, here].mean()),
                }
            )
    return pd.DataFrame(rows)
