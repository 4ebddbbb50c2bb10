"""Calls to an MLflow server, queued in order while it is unreachable."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any

from mlflow.tracking import MlflowClient

from knowledge_transfer.datasets.storage.store import without_password

Call = Callable[[MlflowClient], Any]
logger = logging.getLogger(__name__)

_PAUSE = 300.0  # seconds between attempts at an unreachable server; one attempt takes 40
# Hides tables that MLflow creates, and failed attempts beside our own warning.
_LOG_LEVELS = {
    "alembic": "WARNING",
    "mlflow": "WARNING",
    "mlflow.store.db": "CRITICAL",
    "urllib3.connectionpool": "ERROR",
}


class Server:
    """One tracking server. Calls are made in order; while it is unreachable they wait."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._waiting: deque[tuple[str, Call]] = deque()
        self._away_until = 0.0
        self._warned = False
        self._lock = threading.Lock()

    def send(self, what: str, call: Call) -> None:
        """Make the call, or queue it. Never raises; a warning names a failed call by `what`."""
        with self._lock:
            self._waiting.append((what, call))
            if time.monotonic() >= self._away_until:
                self._deliver()

    def close(self) -> None:
        """Make the waiting calls a last time; warn if they are lost."""
        with self._lock:
            self._deliver()
            if self._waiting:
                self._warn("is still unreachable: this run's metrics are only in its checkpoints' learning curves")

    @cached_property
    def _client(self) -> MlflowClient:
        for noisy, level in _LOG_LEVELS.items():
            logging.getLogger(noisy).setLevel(level)
        return MlflowClient(self.uri)

    def _deliver(self) -> None:
        while self._waiting:
            # Removed first: a call that a signal interrupts must not be repeated.
            what, call = self._waiting.popleft()
            try:
                call(self._client)
            except Exception as error:  # tracking must not stop training
                reason = str(error).partition("\n")[0]
                if not self._is_away(error):
                    self._warn(f"could not {what}: {reason}")
                    continue
                self._waiting.appendleft((what, call))
                self._away_until = time.monotonic() + _PAUSE
                if not self._warned:
                    self._warn(f"is unreachable; the run continues and reports later ({reason})")
                self._warned = True
                return

    def _is_away(self, error: Exception) -> bool:
        """Return whether the server is unreachable or busy, so that the call may succeed later."""
        if getattr(error, "error_code", None) == "TEMPORARILY_UNAVAILABLE":
            return True
        try:
            self._client.search_experiments(max_results=1)
        except Exception:  # any reason will do
            return True
        return False

    def _warn(self, message: str) -> None:
        shown = without_password(self.uri)
        logger.warning("MLflow at %s %s", shown, message.replace(self.uri, shown))
