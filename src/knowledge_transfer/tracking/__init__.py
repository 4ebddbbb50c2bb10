"""Runs in MLflow; no other package imports it."""

from knowledge_transfer.tracking.hooks import MlflowHooks

__all__ = ["MlflowHooks"]
