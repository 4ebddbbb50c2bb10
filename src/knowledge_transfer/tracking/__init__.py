"""Runs in MLflow, which is named here alone."""

from knowledge_transfer.tracking.hooks import MlflowHooks

__all__ = ["MlflowHooks"]
