"""Train every student of the roster on the student set."""

from knowledge_transfer.pipelines.student_training.pipeline import create_pipeline as create_pipeline
