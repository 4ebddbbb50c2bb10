"""Catalog datasets of the project: published images and weights, image sets, checkpoints, soft labels."""

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
