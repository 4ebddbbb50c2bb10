"""The devices of a cluster, by Ray, which is named here alone."""

import os

from knowledge_transfer.errors import RunError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray 2.60 hides all GPUs of tasks that ask for none only where this is set; it warns where it is not.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")

try:
    import ray  # noqa: F401
except ImportError as _error:
    raise RunError('RayRunner needs Ray: pip install "knowledge-transfer[cluster]"') from _error
