"""An error that a user can act on ends a run with one line, without a traceback."""

from __future__ import annotations

from kedro.framework.hooks import hook_impl

from knowledge_transfer.errors import RunError, is_user_error, user_message


class ErrorHooks:
    """Turns user errors into one clear line; anything else keeps its traceback."""

    @hook_impl(trylast=True)
    def on_pipeline_error(self, error: Exception) -> None:
        """Raise RunError in place of an unusable file, a diverged fit, or any other user error."""
        if is_user_error(error) and not isinstance(error, RunError):
            raise RunError(user_message(error)) from error
