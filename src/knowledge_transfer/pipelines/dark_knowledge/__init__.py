"""The study dark_knowledge."""

from knowledge_transfer.pipelines.dark_knowledge.pipeline import create_pipeline as create_pipeline
