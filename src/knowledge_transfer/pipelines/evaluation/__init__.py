"""Measure every model, the ensembles and the reference arms on the test set."""

from knowledge_transfer.pipelines.evaluation.pipeline import create_pipeline as create_pipeline
