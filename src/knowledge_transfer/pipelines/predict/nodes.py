"""Nodes of prediction."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from knowledge_transfer.experiment.stage_config import ENSEMBLE, models_by_name
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageFiles, ImageSet
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.reporting.predictions import compose_predictions

logger = logging.getLogger(__name__)
_PLACES = ("", "second", "third")  # of a class in a prediction
_PICTURE, _MOST_PICTURES = 72, 400  # pixels of side, and how many keep the page small


def classify(
    files: ImageFiles, model: str | None, device: str, **models: Checkpoint
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a row for each image, the most doubtful first, and what was read and which model decided.

    A row has the file, the three likeliest classes with their probabilities by `model` (none: the best on validation;
    `ensemble`: the mean of the students), and the class that every model predicts. Raises ValueError for an unknown
    model, and when no file is an image.
    """
    models = models_by_name(models, model)
    decides, facts = model or _best(models), next(iter(models.values())).facts
    names, pixels, skipped = files.read(files.names, grey=facts.channels == 1, size=facts.image_size)
    if skipped:
        logger.warning("%d of %d files are left out: %s", len(skipped), len(files.names), next(iter(skipped.values())))
    if not names:
        raise ValueError(f"none of the {len(files.names)} files is an image: {next(iter(skipped.values()))}")
    images = ImageSet(pixels, torch.zeros(len(pixels), dtype=torch.int64), facts.class_names)
    known = {
        name: predict(each.build(), images, device=resolve_device(device)).softmax(1)
        for name, each in models.items()
        if each.facts.class_names == facts.class_names
    }
    *students, _ = known
    known[ENSEMBLE] = torch.stack([known[name] for name in students]).mean(0)
    table = _table(names, known[decides], known, facts.class_names)
    info = {
        "model": decides,
        "because": "it was asked for" if model else "it is the best on validation",
        "validation_accuracy": models[decides].facts.metrics.get("validation_accuracy") if decides in models else None,
        "images": len(names),
        "skipped": skipped,
    }
    logger.info("%d images are classified by %s: %s", len(names), decides, info["because"])
    return table, info


def _best(models: Mapping[str, Checkpoint]) -> str:
    return max(models, key=lambda name: models[name].facts.metrics.get("validation_accuracy", 0.0))


def _table(names: list[str], decided: Tensor, known: Mapping[str, Tensor], classes: Sequence[str]) -> pd.DataFrame:
    # Stable, so that of two equally likely classes the same one is named everywhere.
    values, likeliest = decided.sort(dim=1, descending=True, stable=True)
    columns: dict[str, Any] = {"file": names}
    for place, name in enumerate(_PLACES[: len(classes)]):
        columns[name or "class"] = [classes[index] for index in likeliest[:, place].tolist()]
        columns[f"{name}_probability".lstrip("_")] = values[:, place].numpy().round(4)
    for name, probabilities in known.items():
        first = probabilities.sort(dim=1, descending=True, stable=True).indices[:, 0]
        columns[f"{name} (model)" if name in columns else name] = [classes[index] for index in first.tolist()]
    return pd.DataFrame(columns).sort_values("probability", kind="stable", ignore_index=True)


def write_predictions(files: ImageFiles, predictions: pd.DataFrame, info: dict[str, Any]) -> str:
    """Return a page of the images, the most doubtful first, as HTML."""
    shown = predictions.head(_MOST_PICTURES)
    _, pictures, _ = files.read(list(shown["file"]), grey=False, size=_PICTURE)
    return compose_predictions(shown, pictures.permute(0, 2, 3, 1).numpy(), info)
