"""The published experiment as conf/full has it, from a file that needs no YAML: recipes.json.

`python -m benchmarks.experiment.recipes` writes the file, with the whole package installed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.common import ours
from benchmarks.common.bench import Sizes

FILE = Path(__file__).with_name("recipes.json")
_STAGES = ("student_training", "target_distillation", "reverse_distillation")


def configured(env: str = "full") -> dict[str, Any]:
    """Return the parameters of conf/`env`, checked in the way of a run."""
    from knowledge_transfer import settings
    from knowledge_transfer.experiment.loader import ExperimentConfigLoader
    from knowledge_transfer.hooks.parameters import check_parameters

    loader = ExperimentConfigLoader("conf", env=env, **settings.CONFIG_LOADER_ARGS)
    return check_parameters(loader["parameters"]).model_dump(mode="json", exclude={"data", "domains", "evaluation"})


def published(sizes: Sizes) -> ours.Experiment:
    """Return the experiment of recipes.json, with the epochs, batch size and width of `sizes` where it has them."""
    plan = json.loads(FILE.read_text(encoding="utf-8"))
    if sizes.epochs is not None and sizes.batch_size is not None:
        for stage in _STAGES:
            plan[stage]["recipe"] |= {
                "epochs": sizes.epochs,
                "min_steps": 0,
                "views": sizes.epochs,
                "batch_size": sizes.batch_size,
            }
        for model in (*plan["students"].values(), plan["target"]):
            model["architecture"]["width"] = sizes.width
    return experiment(plan)


def experiment(plan: dict[str, Any]) -> ours.Experiment:
    """Return the experiment of these parameters on CIFAR-10."""
    data = {"source": "cifar10", "path": "", "image_size": 32}
    return ours.Experiment.model_validate({**plan, "data": data, "evaluation": {}})


if __name__ == "__main__":
    FILE.write_text(json.dumps(configured(), indent=1) + "\n", encoding="utf-8")
