"""The main experiment: students teach the target, the target teaches them back."""

from knowledge_transfer.pipelines.bidirectional.pipeline import create_pipeline as create_pipeline
