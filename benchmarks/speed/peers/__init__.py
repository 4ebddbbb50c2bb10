"""Distillation from stored soft labels beside other ways to do it: `python -m benchmarks.speed.peers`."""
