"""Train the reference arms, with which every claim of transfer is compared."""

from knowledge_transfer.pipelines.reference_arms.pipeline import create_pipeline as create_pipeline
