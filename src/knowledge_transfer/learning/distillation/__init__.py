"""Distillation: teachers make soft labels, learners read them."""
