"""Nodes of export."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from knowledge_transfer.experiment.stage_config import ENSEMBLE, models_by_name
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.models.exported import Probabilities
from knowledge_transfer.pipelines.export.formats import export, require

_CLOSE = 1e-4  # of a probability
_COMPARED, _BATCH, _REPEATS = 64, 64, 15


def export_models(
    model: str | None, kind: str, images: ImageSet, **models: Checkpoint
) -> tuple[dict[str, bytes], pd.DataFrame]:
    """Return files of `model` (none: of every student), of the target and the ensemble, and what they cost.

    The last of `models` is the target. A row has the file, its size in bytes, parameters, accuracy on the validation
    images, milliseconds on the CPU for one image and for a batch of 64, and the largest difference to the network's own
    probabilities. Raises ValueError for an unknown model, a missing library, and a difference above 1e-4.
    """
    require(kind)
    models = models_by_name(models, model)
    *students, target = models
    chosen = students if model is None else [model]
    groups = {name: [name] for name in dict.fromkeys([*chosen, target]) if name != ENSEMBLE}
    if len({models[name].facts.class_names for name in students}) == 1:
        groups[ENSEMBLE] = students
    files, rows = {}, []
    for name, members in groups.items():
        content, suffix, row = _exported(name, [models[member] for member in members], kind, images)
        files[f"{name}{suffix}"] = content
        rows.append(row)
    return files, pd.DataFrame(rows)


def _exported(name: str, members: list[Checkpoint], kind: str, images: ImageSet) -> tuple[bytes, str, dict[str, Any]]:
    facts = members[0].facts
    own = images.of(facts.domain)
    network = Probabilities([member.build() for member in members])
    shape = own.images.shape[1:]
    about = {"model": name, "class_names": facts.class_names, "shape": list(shape), "pixels": "uint8 0 to 255"}
    made = export(network, shape, about, kind)
    some = own.images[:_COMPARED]
    with torch.inference_mode():
        difference = float((made.predict(some) - network(some)).abs().max())
    if not difference <= _CLOSE:
        raise ValueError(f"the exported {name} predicts otherwise than the network: a probability is {difference} off")
    predicted = torch.cat([made.predict(batch) for batch in own.images.split(_BATCH)]).argmax(1)
    row = {
        "model": name,
        "file": f"{name}{made.suffix}",
        "bytes": len(made.content),
        "parameters": sum(member.facts.parameters for member in members),
        "validation_accuracy": float((predicted == own.labels).float().mean()),
        "milliseconds_one": _milliseconds(made.predict, own.images[:1]),
        "milliseconds_batch": _milliseconds(made.predict, own.images[:_BATCH]),
        "difference": difference,
    }
    return made.content, made.suffix, row


def _milliseconds(predict: Callable[[Tensor], Tensor], pixels: Tensor) -> float:
    """Return the median time of a prediction in milliseconds, after one that does not count."""
    predict(pixels)
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        predict(pixels)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)
