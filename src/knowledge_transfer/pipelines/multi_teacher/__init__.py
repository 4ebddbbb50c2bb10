"""The study multi_teacher."""

from knowledge_transfer.pipelines.multi_teacher.pipeline import create_pipeline as create_pipeline
