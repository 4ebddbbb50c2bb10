"""Errors that a user can act on: one line, without a traceback."""

from __future__ import annotations

import traceback

import click
from kedro.io import DatasetError

from knowledge_transfer.learning.training.trainer import TrainingDivergedError


class RunError(click.ClickException):
    """A run that cannot be done or go on; the message says what, where and what to do."""


def is_user_error(error: Exception) -> bool:
    """Return whether the message of `error` is meant for the user: the project itself refuses or gives up."""
    if isinstance(error, DatasetError | TrainingDivergedError | RunError) or _is_out_of_memory(error):
        return True
    if type(error) is not ValueError:
        return False
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", "")).startswith("knowledge_transfer.")


def user_message(error: Exception) -> str:
    """Return the message of `error` for a user."""
    if _is_out_of_memory(error):
        return f"the GPU is out of memory: lower per_device, or batch_size of the recipe ({error})"
    return error.message if isinstance(error, RunError) else str(error)


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError)
