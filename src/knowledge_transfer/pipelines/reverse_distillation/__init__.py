"""The target teaches the students back."""

from knowledge_transfer.pipelines.reverse_distillation.pipeline import create_pipeline as create_pipeline
