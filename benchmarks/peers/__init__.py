"""Distillation from stored soft labels beside what one would use instead: `python -m benchmarks.peers`."""
