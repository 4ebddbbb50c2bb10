"""The second experiment: every student learns a domain of its own, one target learns them all."""

from knowledge_transfer.pipelines.heterogeneous.pipeline import create_pipeline as create_pipeline
