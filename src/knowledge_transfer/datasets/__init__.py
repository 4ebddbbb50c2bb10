"""Catalog datasets of the project: published images and weights, image sets, checkpoints, soft labels."""

from knowledge_transfer.datasets.checkpoint import CheckpointDataset
from knowledge_transfer.datasets.checkpoints import CheckpointsDataset
from knowledge_transfer.datasets.image_set import ImageSetDataset
from knowledge_transfer.datasets.pretrained_weights import PretrainedWeightsDataset
from knowledge_transfer.datasets.published_images import PublishedImagesDataset
from knowledge_transfer.datasets.soft_labels import SoftLabelsDataset

__all__ = [
    "CheckpointDataset",
    "CheckpointsDataset",
    "ImageSetDataset",
    "PretrainedWeightsDataset",
    "PublishedImagesDataset",
    "SoftLabelsDataset",
]
