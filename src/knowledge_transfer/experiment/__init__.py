"""Parameters as checked models, and what the pipelines of studies have in common."""
