"""The study student_ensemble."""

from knowledge_transfer.pipelines.student_ensemble.pipeline import create_pipeline as create_pipeline
