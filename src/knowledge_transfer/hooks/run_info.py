"""The facts of a run for its report: pipeline, time, machine and code."""

import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from knowledge_transfer.experiment.current import prefix_of
from knowledge_transfer.tracking.facts import commit

_LIBRARIES = ("torch", "torchvision", "kedro", "mlflow")


class RunInfoHooks:
    """Writes the dataset `run_info` before a run that reads it."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Save pipeline, environment, start, machine, library versions and git commit."""
        name = f"{prefix_of(pipeline)}run_info"
        if name not in pipeline.inputs():
            return
        names = run_params["pipeline_names"] or ["bidirectional"]
        catalog.save(
            name,
            {
                "pipeline": "+".join(names).replace("__default__", "bidirectional"),
                "environment": run_params["env"] or "base",
                "started": time.time(),
                "machine": _machine(),
                "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
                "git_commit": commit().get("mlflow.source.git.commit"),
            },
        )


def _machine() -> str:
    import torch

    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
