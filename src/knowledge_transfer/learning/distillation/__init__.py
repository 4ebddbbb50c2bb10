"""Soft labels: how teachers give them, how learners use them."""
