"""What a user can mend ends a run with one line, without a traceback."""

from __future__ import annotations

from kedro.framework.hooks import hook_impl

from knowledge_transfer.errors import RunError, is_user_error, told


class ErrorHooks:
    """Turns errors of input into one clear line; anything else keeps its traceback."""

    @hook_impl(trylast=True)
    def on_pipeline_error(self, error: Exception) -> None:
        """Raise RunError in place of an unusable file, a diverged fit, or anything else that this project refuses."""
        if is_user_error(error) and not isinstance(error, RunError):
            raise RunError(told(error)) from error
