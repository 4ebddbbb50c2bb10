"""Catalog datasets of the project: published images and weights, image sets, checkpoints, soft labels, reports."""

from importlib import import_module
from typing import Any

from knowledge_transfer.datasets.catalog.checkpoint import CheckpointDataset
from knowledge_transfer.datasets.catalog.exported_models import ExportedModelsDataset
from knowledge_transfer.datasets.catalog.image_files import ImageFilesDataset
from knowledge_transfer.datasets.catalog.image_set import ImageSetDataset
from knowledge_transfer.datasets.catalog.pretrained_weights import PretrainedWeightsDataset
from knowledge_transfer.datasets.catalog.published_images import PublishedImagesDataset
from knowledge_transfer.datasets.catalog.soft_labels import SoftLabelsDataset

__all__ = [
    "CheckpointDataset",
    "ExportedModelsDataset",
    "ImageFilesDataset",
    "ImageSetDataset",
    "PretrainedWeightsDataset",
    "PublishedImagesDataset",
    "SoftLabelsDataset",
]

# Only when a catalog names them: a process that trains imports neither pandas nor matplotlib.
_REPORTS = {"CSVDataset": "table", "JSONDataset": "facts", "MatplotlibDataset": "figure", "TextDataset": "page"}


def __getattr__(name: str) -> Any:
    if name not in _REPORTS:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.reports.{_REPORTS[name]}"), name)
