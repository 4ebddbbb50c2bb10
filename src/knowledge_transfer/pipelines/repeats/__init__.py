"""One experiment over several seeds: means, errors over seeds, and whether a difference is more than chance."""

from knowledge_transfer.pipelines.repeats.pipeline import create_pipeline as create_pipeline
