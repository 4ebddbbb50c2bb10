"""Classify a user's images with the models of the last run."""

from knowledge_transfer.pipelines.predict.pipeline import create_pipeline as create_pipeline
