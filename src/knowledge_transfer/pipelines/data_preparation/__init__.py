"""Split the published images into student, validation, transfer and test set."""

from knowledge_transfer.pipelines.data_preparation.pipeline import create_pipeline as create_pipeline
