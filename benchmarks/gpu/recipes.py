"""The published experiment's settings, as conf/full has them, from a file that needs no YAML: recipes.json."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

from benchmarks.gpu.bench import Sizes
from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.training.recipe import Recipe

FILE = Path(__file__).with_name("recipes.json")
# What of the configuration the benchmark reads, as pydantic's model_dump takes it.
WANTED: dict[str, Any] = {
    "seed": True,
    "students": {"__all__": {"architecture", "recipe", "reverse_recipe"}},
    "target": {"name", "architecture"},
    "data_preparation": {"transfer_fraction", "validation_fraction"},
    "student_training": {"recipe"},
    "target_distillation": {"recipe", "distillation"},
    "reverse_distillation": {"recipe", "distillation"},
}


class Student(Config):
    """A member of the roster; its recipes change single knobs of the stages'."""

    architecture: Architecture
    recipe: dict[str, Any] = {}
    reverse_recipe: dict[str, Any] = {}


class Target(Config):
    """The large network."""

    name: str
    architecture: Architecture


class Cut(Config):
    """The shares of the transfer set, and of the validation set in what is left."""

    transfer_fraction: float
    validation_fraction: float


class Stage(Config):
    """A stage's recipe, and how soft labels enter where there are any."""

    recipe: Recipe
    distillation: DistillationConfig = DistillationConfig()


class Plan(Config):
    """The published experiment, in the names of its configuration."""

    seed: int
    students: dict[str, Student]
    target: Target
    data_preparation: Cut
    student_training: Stage
    target_distillation: Stage
    reverse_distillation: Stage

    def at(self, sizes: Sizes) -> Plan:
        """Return the plan at another size: its own where `sizes` names no epochs and no batch size."""
        if sizes.epochs is None or sizes.batch_size is None:
            return self
        changes = {"epochs": sizes.epochs, "views": sizes.epochs, "batch_size": sizes.batch_size}
        given = self.model_dump(mode="json")
        for stage in ("student_training", "target_distillation", "reverse_distillation"):
            given[stage]["recipe"] |= changes
        for model in (*given["students"].values(), given["target"]):
            model["architecture"]["width"] = sizes.width
        return Plan.model_validate(given)


def published() -> Plan:
    """Return the plan of recipes.json."""
    return Plan.model_validate(json.loads(FILE.read_text(encoding="utf-8")))


def seed_for(seed: int, name: str) -> int:
    """Return the seed of one model, the same as in a run of the pipelines."""
    return (seed * 1_000_003 + zlib.crc32(name.encode())) % 2**31
