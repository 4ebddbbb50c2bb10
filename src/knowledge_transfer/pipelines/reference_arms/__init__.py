"""Train the reference arms, beside which every claim of transfer stands."""

from knowledge_transfer.pipelines.reference_arms.pipeline import create_pipeline

__all__ = ["create_pipeline"]
