"""Trained networks in MLflow's model registry."""

import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types.schema import ColSpec, DataType, Map, Schema

from knowledge_transfer.datasets.sources import pixels
from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.models.exported import Probabilities, as_file, exported

with warnings.catch_warnings():
    # On import MLflow warns of a type hint of its own.
    warnings.filterwarnings("ignore", message=".*Any type hint is inferred")
    import mlflow.pyfunc

CHAMPION = "champion"
_SERVED = Path(__file__).with_name("served.py")
# Of the input nothing: pixels and pictures have no type in common.
_ANSWERS = ModelSignature(
    outputs=Schema(
        [
            ColSpec(DataType.string, "class"),
            ColSpec(DataType.double, "probability"),
            ColSpec(Map(DataType.double), "probabilities"),
        ]
    )
)
_NEEDED = ("mlflow", "numpy", "pillow", "torch")


def register(client: MlflowClient, run_id: str, checkpoint: Checkpoint, step: int) -> None:
    """Log the network as an exported graph, which answers without this package and holds no pickle, and register it."""
    facts = checkpoint.facts
    # By id, because MLflow's `log_model` uses the globally active run and experiment.
    experiment = client.get_experiment(client.get_run(run_id).info.experiment_id)
    model_id = client.create_logged_model(experiment.experiment_id, facts.name, source_run_id=run_id).model_id
    shape = [facts.channels, facts.image_size, facts.image_size]
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder) / "network.pt2"
        about = {"model": facts.key, "class_names": facts.class_names, "shape": shape}
        network.write_bytes(as_file(exported(Probabilities([checkpoint.build()]), shape), about))
        logged = Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            run_id=run_id,
            model_id=model_id,
            step=step,
            python_model=str(_SERVED),
            artifacts={"network": str(network)},
            code_paths=[pixels.__file__],
            signature=_ANSWERS,
            input_example=np.zeros((1, *shape), np.uint8),
            # Otherwise MLflow loads the model in another process to infer them.
            pip_requirements=[f"{package}=={version(package)}" for package in _NEEDED],
            metadata={"class_names": list(facts.class_names), "sha256": facts.sha256},
        )
    _add_version(client, f"{experiment.name}.{facts.name}", facts, logged.model_uri, run_id, model_id)


def crown(client: MlflowClient, experiment_id: str, models: list[Facts]) -> None:
    """Give the best of the registered `models` on validation the alias `champion` of the experiment's own model."""
    name = client.get_experiment(experiment_id).name
    # In a mix, those that know every domain: the others are right among fewer classes.
    models = [facts for facts in models if facts.domain == ALL] or models
    best = max(models, key=lambda facts: facts.metrics.get("validation_accuracy", 0.0))
    registered = client.search_model_versions(f"name = '{name}.{best.name}'")
    same = [each for each in registered if each.tags.get("sha256") == best.sha256]
    if same:
        latest = max(same, key=lambda each: int(each.version))
        champion = _add_version(client, name, best, latest.source, latest.run_id, latest.model_id)
        client.set_registered_model_alias(name, CHAMPION, champion)


def _add_version(
    client: MlflowClient, name: str, facts: Facts, source: str, run_id: str | None, model_id: str | None
) -> str:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    accuracy = facts.metrics.get("validation_accuracy")
    tags = {"sha256": facts.sha256, **({} if accuracy is None else {"validation_accuracy": f"{accuracy:.4f}"})}
    made = client.create_model_version(
        name, source, run_id, tags, model_id=model_id, description=_description(facts, accuracy)
    )
    return str(made.version)


def _description(facts: Facts, accuracy: float | None) -> str:
    shape = [facts.channels, facts.image_size, facts.image_size]
    right = "" if accuracy is None else f" It is right on {100 * accuracy:.1f} % of the validation images."
    return (
        f"{facts.key}: {facts.architecture}, {facts.parameters:,} parameters, {len(facts.class_names)} classes.{right} "
        f"It takes pixels 0 to 255 as {shape}, or image files in base64, and answers with class and probabilities."
    )
