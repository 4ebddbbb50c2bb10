"""Trained networks in MLflow's model registry."""

import warnings
from importlib.metadata import version

import mlflow.pytorch
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import Schema, TensorSpec

from knowledge_transfer.learning.checkpoint import Checkpoint

with warnings.catch_warnings():
    # On import MLflow warns of a type hint of its own.
    warnings.filterwarnings("ignore", message=".*Any type hint is inferred")
    import mlflow.pyfunc


def register(client: MlflowClient, run_id: str, checkpoint: Checkpoint, step: int) -> None:
    """Log the network as an exported graph, which loads without this package and holds no pickle, and register it."""
    facts = checkpoint.facts
    shape = (facts.channels, facts.image_size, facts.image_size)
    # Without names, so that `mlflow.pyfunc` takes a plain array.
    pixels = TensorSpec(np.dtype(np.uint8), (-1, *shape))
    logits = TensorSpec(np.dtype(np.float32), (-1, len(facts.class_names)))
    # By id, because `mlflow.pytorch.log_model` uses the globally active run and experiment.
    experiment = client.get_experiment(client.get_run(run_id).info.experiment_id)
    model_id = client.create_logged_model(experiment.experiment_id, facts.name, source_run_id=run_id).model_id
    logged = Model.log(
        artifact_path=None,
        flavor=mlflow.pytorch,
        run_id=run_id,
        model_id=model_id,
        step=step,
        pytorch_model=checkpoint.build(),
        serialization_format="pt2",
        signature=ModelSignature(Schema([pixels]), Schema([logits])),
        # torch.export would fix the batch size at one; two stands for any size.
        input_example=np.zeros((2, *shape), np.uint8),
        # Otherwise MLflow loads the model in another process to infer them.
        pip_requirements=[f"{package}=={version(package)}" for package in ("mlflow", "torch")],
        metadata={"class_names": list(facts.class_names), "sha256": facts.sha256},
    )
    name = f"{experiment.name}.{facts.name}"
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    client.create_model_version(name, logged.model_uri, run_id, {"sha256": facts.sha256}, model_id=model_id)
