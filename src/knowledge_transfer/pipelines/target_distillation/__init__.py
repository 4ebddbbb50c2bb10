"""The students' ensemble teaches the target."""

from knowledge_transfer.pipelines.target_distillation.pipeline import create_pipeline as create_pipeline
