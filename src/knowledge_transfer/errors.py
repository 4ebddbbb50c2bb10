"""Errors that a user can act on: one line, without a traceback."""

import traceback

import click
from kedro.framework.hooks import hook_impl
from kedro.io import DatasetError

from knowledge_transfer.learning.training.trainer import TrainingDivergedError


class RunError(click.ClickException):
    """A run that cannot start or continue; the message names the cause, the place and the remedy."""


def is_user_error(error: Exception) -> bool:
    """Return whether the message of `error` is for the user: this project raised it on purpose."""
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


class ErrorHooks:
    """Ends a run on a user error with one line; any other error keeps its traceback."""

    @hook_impl(trylast=True)
    def on_pipeline_error(self, error: Exception) -> None:
        """Raise RunError in place of a user error."""
        if is_user_error(error) and not isinstance(error, RunError):
            raise RunError(user_message(error)) from error


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError)
