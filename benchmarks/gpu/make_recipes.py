"""`python -m benchmarks.gpu.make_recipes` writes recipes.json from conf/full, where the whole package is installed."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.gpu.recipes import FILE, WANTED
from knowledge_transfer import settings
from knowledge_transfer.experiment.loader import ExperimentConfigLoader
from knowledge_transfer.hooks.parameters import check_parameters


def configured() -> dict[str, Any]:
    """Return what the benchmark reads of the configuration, checked as a run checks it."""
    loader = ExperimentConfigLoader("conf", env="full", **settings.CONFIG_LOADER_ARGS)
    return check_parameters(loader["parameters"]).model_dump(mode="json", include=WANTED)


if __name__ == "__main__":
    FILE.write_text(json.dumps(configured(), indent=2) + "\n", encoding="utf-8")
