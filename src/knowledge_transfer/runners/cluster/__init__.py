"""The devices of a cluster, through Ray."""

import os

from knowledge_transfer.errors import RunError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Without it, Ray 2.60 warns, and shows GPUs to tasks that need none.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")

try:
    import ray  # noqa: F401
except ImportError as _error:
    raise RunError('RayRunner needs Ray: pip install "knowledge-transfer[cluster]"') from _error
