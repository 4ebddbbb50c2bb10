"""The study multi_teacher."""

from knowledge_transfer.pipelines.multi_teacher.pipeline import create_pipeline

__all__ = ["create_pipeline"]
