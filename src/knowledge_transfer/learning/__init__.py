"""The science, without Kedro, MLflow or Ray: images, views, models, training, losses, fusion, soft labels, metrics.

Everything here runs with torch, safetensors and Pydantic alone. `learn` trains a network and returns its
checkpoint, `load` reads one from a file, `label` makes soft labels with teachers, `predict` returns a network's logits.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from knowledge_transfer.learning.checkpoint_file import load
    from knowledge_transfer.learning.distillation.labelling import label
    from knowledge_transfer.learning.evaluation.predict import predict
    from knowledge_transfer.learning.train import learn

__all__ = ["label", "learn", "load", "predict"]

_MODULES = {
    "label": "distillation.labelling",
    "learn": "train",
    "load": "checkpoint_file",
    "predict": "evaluation.predict",
}


def __getattr__(name: str) -> Any:
    # Only when used: a process that needs one module imports no other.
    if name not in _MODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
