"""Train the reference arms, with which distilled models are compared."""

from knowledge_transfer.pipelines.reference_arms.pipeline import create_pipeline as create_pipeline
