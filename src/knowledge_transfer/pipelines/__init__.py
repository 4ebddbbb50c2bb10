"""Stages and studies: one folder each, with functions in `nodes.py` and their order in `pipeline.py`."""
