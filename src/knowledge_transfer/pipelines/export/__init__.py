"""Export the models of the last run to files that need neither this package nor its source."""

from knowledge_transfer.pipelines.export.pipeline import create_pipeline as create_pipeline
