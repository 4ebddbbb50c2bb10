"""The words and numbers that a run is described by in MLflow: the same keys for every model, so that they compare."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from knowledge_transfer.learning.checkpoint import Facts
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.training.events import EpochEnded

_EPOCH_METRICS = ("loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "images_per_second")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings and settings models as one mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        plain = value.model_dump() if isinstance(value, BaseModel) else value
        if isinstance(plain, Mapping) and plain:
            flat |= flatten(plain, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = plain
    return flat


def model_parameters(facts: Facts, stage: str) -> dict[str, Any]:
    """Return how a model was made; one that nobody taught has every key of distillation, too."""
    return flatten(
        {
            "architecture": facts.architecture.kind,
            "width": facts.architecture.width,
            "stage": stage,
            "round": facts.round,
            "domain": facts.domain,
            "recipe": facts.recipe,
            "distillation": facts.distillation or dict.fromkeys(DistillationConfig.model_fields),
            "parameters": facts.parameters,
            "seed": facts.seed,
        }
    )


def lineage(facts: Facts) -> dict[str, str]:
    """Return the hash of a model's weights and of those it descends from."""
    # `resnet8@0` becomes `resnet8_round0`, as in its dataset's name: MLflow has no @ in a key.
    parents = {f"parent.{key.replace('@', '_round')}": sha256 for key, sha256 in facts.parents.items()}
    return {"sha256": facts.sha256, **parents}


def epoch_metrics(event: EpochEnded) -> dict[str, float]:
    """Return one point of every learning curve."""
    return {name: getattr(event, name) for name in _EPOCH_METRICS}


def commit() -> dict[str, str]:
    """Return the commit of the working directory and whether files differ from it; nothing where there is no git."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        described = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return {}
    sha, _, dirty = described.partition("-")
    return {"mlflow.source.git.commit": sha, "git.dirty": str(bool(dirty)).lower()}
