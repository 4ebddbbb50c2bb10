"""The facts of a run in MLflow, with the same keys for every model."""

import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from pydantic import BaseModel

from knowledge_transfer.experiment.current import prefix_of, summary_rows
from knowledge_transfer.learning.checkpoint import Facts
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.training.events import EpochEnded
from knowledge_transfer.reporting.columns import tracked

_EPOCH_METRICS = ("loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "images_per_second")


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings and settings models as one mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        plain = value.model_dump() if isinstance(value, BaseModel) else value
        if isinstance(plain, Mapping) and plain:
            flat |= flatten(plain, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = plain
    return flat


def model_parameters(facts: Facts, stage: str) -> dict[str, Any]:
    """Return how a model was made; without a teacher, the keys of distillation are empty."""
    return flatten(
        {
            "architecture": facts.architecture.kind,
            "width": facts.architecture.width,
            "stage": stage,
            "round": facts.round,
            "domain": facts.domain,
            "recipe": facts.recipe,
            "distillation": facts.distillation or dict.fromkeys(DistillationConfig.model_fields),
            "parameters": facts.parameters,
            "seed": facts.seed,
        }
    )


def lineage(facts: Facts) -> dict[str, str]:
    """Return the hashes of a model's weights and of its teachers and predecessors."""
    # `resnet8@0` becomes `resnet8_round0`, as in its dataset's name: MLflow has no @ in a key.
    parents = {f"parent.{key.replace('@', '_round')}": sha256 for key, sha256 in facts.parents.items()}
    return {"sha256": facts.sha256, **parents, **({"warning": facts.warning} if facts.warning else {})}


def final_models(pipeline: Pipeline, catalog: DataCatalog) -> list[Facts]:
    """Return the facts of the models after the last round that `pipeline` made."""
    made = [name for node in pipeline.nodes if "final" in node.tags for name in node.outputs]
    # Not through the catalog, which would log that it loads.
    found = [catalog.get(name) for name in made if name.endswith("_checkpoint")]
    return [dataset.load().facts for dataset in found if dataset is not None and dataset.exists()]


def validation_nll(facts: Facts) -> dict[str, float]:
    """Return the NLL on validation of each candidate of which an accepted model was kept."""
    return {f"validation_nll.{key.replace('@', '_round')}": nll for key, nll in facts.validation_nll.items()}


def epoch_metrics(event: EpochEnded) -> dict[str, float]:
    """Return one point of every learning curve."""
    return {name: getattr(event, name) for name in _EPOCH_METRICS}


def summary_metrics(pipeline: Pipeline, catalog: DataCatalog) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the step and the metrics of every row of the summary that `pipeline` made."""
    for row in summary_rows(pipeline, catalog):
        where = ".".join([row["stage"], row["model"], *([row["domain"]] if row.get("domain", ALL) != ALL else [])])
        # The round is the step: a model that is evaluated after every round has a curve.
        yield row["round"], {f"{key}.{where}": value for key, value in tracked(row).items()}


def device_use(pipeline: Pipeline, catalog: DataCatalog) -> dict[str, float]:
    """Return by device the share of the run, in [0, 1], for which it was in use."""
    name = f"{prefix_of(pipeline)}device_use"
    if name not in pipeline.all_outputs():
        return {}
    dataset = catalog.get(name)
    table = dataset.load() if dataset is not None and dataset.exists() else None
    return {} if table is None else {f"device_use.{row.place}": float(row.share) for row in table.itertuples()}


def commit() -> dict[str, str]:
    """Return the commit of the working directory and whether files differ from it; empty without git."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        described = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return {}
    sha, _, dirty = described.partition("-")
    return {"mlflow.source.git.commit": sha, "git.dirty": str(bool(dirty)).lower()}
