"""One teacher, equal learners, each with another weight of the soft loss."""

from knowledge_transfer.pipelines.alpha_study.pipeline import create_pipeline as create_pipeline
