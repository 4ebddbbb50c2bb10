"""Tracking in MLflow: one run for the pipeline, and below it one for every model that it trains."""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from knowledge_transfer.datasets.storage.store import file_of
from knowledge_transfer.experiment.config import parameters_of
from knowledge_transfer.experiment.current import is_inference, model_name, part_of
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distributed.process import changed_environment
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.training import events
from knowledge_transfer.runners.local.devices import assigned_device
from knowledge_transfer.tracking import facts
from knowledge_transfer.tracking.process import sigterm_unwinds

if TYPE_CHECKING:
    from knowledge_transfer.tracking.runs import Run, Status

_URI = "MLFLOW_TRACKING_URI"
_RUN = "KNOWLEDGE_TRANSFER_RUN"  # `<experiment id>/<run id>` of the pipeline, for processes that run single nodes
_REPORTING = "08_reporting"

# Before mlflow is imported. With its own defaults an unreachable server holds every call for four minutes.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}.items():
    os.environ.setdefault(_name, _value)


class MlflowHooks:
    """Tracks every run at MLFLOW_TRACKING_URI, by default in the project's `mlflow.db` and `mlartifacts`.

    Tracking never stops or changes a run: an unreachable server costs one warning. An interrupted run ends as KILLED,
    at the latest when the next run starts.
    """

    def __init__(self) -> None:
        self._pipeline_run: Run | None = None
        self._models: dict[str, _ModelRun] = {}
        self._undo = ExitStack()

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Start the pipeline's run, and make sure that it ends."""
        self._end("KILLED")  # an interrupted run of the same notebook
        if is_inference(pipeline):  # which trains and measures nothing
            return
        project = Path(run_params["project_path"])
        name = "+".join(run_params["pipeline_names"] or ["__default__"]).replace("__default__", "bidirectional")
        env = run_params["env"] or "base"
        uri = os.environ.get(_URI) or f"sqlite:///{project / 'mlflow.db'}"
        # A remote server stores artifacts itself.
        artifacts = None if uri.startswith("http") else str(project / "mlartifacts")
        self._pipeline_run = run = _new_run(f"{name} {env}", uri)
        # Ctrl-C and SIGTERM call no hook: both unwind the process.
        atexit.register(self._end, "KILLED")
        self._undo.callback(atexit.unregister, self._end)
        self._undo.enter_context(sigterm_unwinds())
        self._undo.enter_context(changed_environment(**{_URI: uri}))
        run.enter(name, artifacts)
        run.start({"pipeline": name, "environment": env, **facts.commit()})
        run.server.send("export the run", lambda _: self._export(run))
        dataset = catalog.get("parameters") if "parameters" in catalog else None
        run.log_parameters(facts.flatten(parameters_of(dataset.load() if dataset else {}, part_of(pipeline))))

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Log what the pipeline reported, and end its run."""
        run = self._pipeline_run
        if run is None:
            return
        for step, metrics in facts.summary_metrics(pipeline, catalog):
            run.log_metrics(metrics, step)
        run.log_metrics(facts.device_use(pipeline, catalog), 0)
        if final := facts.final_models(pipeline, catalog):
            run.crown(final)
        for name in sorted(pipeline.all_outputs()):
            file = file_of(catalog, name)
            if file and _REPORTING in (folders := file.path.split("/")[:-1]):
                run.log_file(file, "/".join(folders[folders.index(_REPORTING) + 1 :]) or None)
        self._end("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """End the pipeline's run as failed."""
        self._end("FAILED", error)

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any]) -> None:
        """Start the run of the model that a node trains or accepts, and subscribe to its fit."""
        parent = (self._pipeline_run or _exported_run()) if node.tags & {"training", "acceptance"} else None
        if parent is None:
            return
        model = _ModelRun(parent.child(model_name(node)), node.namespace or "")
        device = {"device": assigned_device() or _own_device(inputs)}
        model.run.start({"model": model.run.name, "stage": model.stage, **device, **facts.commit()})
        model.run.log_images({name: value for name, value in inputs.items() if isinstance(value, ImageSet)})
        self._models[node.name] = model
        events.subscribe(model.on_event)

    @hook_impl
    def after_node_run(self, node: Node, outputs: dict[str, Any]) -> None:
        """Log the facts of the trained model and, after the last round, the model itself."""
        model = self._models.get(node.name)
        if model is None:
            return
        for checkpoint in outputs.values():
            # A parameter of a run has one value: fits of a node that has several have none.
            if isinstance(checkpoint, Checkpoint) and len(outputs) == 1:
                model.run.log_parameters(facts.model_parameters(checkpoint.facts, model.stage))
                model.run.log_tags(facts.lineage(checkpoint.facts))
                model.run.log_metrics(facts.validation_nll(checkpoint.facts), checkpoint.facts.round)
                if "final" in node.tags:
                    model.run.log_model(checkpoint, checkpoint.facts.round)
        self._end_model(node, "FINISHED")

    @hook_impl
    def on_node_error(self, error: Exception, node: Node) -> None:
        """End the model's run as failed, with the reason."""
        self._end_model(node, "FAILED", error)

    @hook_impl
    def on_node_ended(self, status: str) -> None:
        """End the run of a model whose process was killed: it cannot do so itself."""
        if status == "killed" and self._pipeline_run:
            self._pipeline_run.reap()

    def _export(self, run: Run) -> None:
        if run.id:
            self._undo.enter_context(changed_environment(**{_RUN: f"{run.experiment}/{run.id}"}))

    def _end_model(self, node: Node, status: Status, error: Exception | None = None) -> None:
        model = self._models.pop(node.name, None)
        if model is None:
            return
        events.unsubscribe(model.on_event)
        model.run.end(status, error)
        if self._pipeline_run is None:  # a process of its own, which ends with its node
            model.run.server.close()

    def _end(self, status: Status, error: Exception | None = None) -> None:
        run, self._pipeline_run = self._pipeline_run, None
        while self._models:
            events.unsubscribe(self._models.popitem()[1].on_event)
        if run:
            run.end(status, error)
            run.server.close()
        self._undo.close()


@dataclass(eq=False)
class _ModelRun:
    """The run of a model in training."""

    run: Run
    stage: str
    epoch: int = 0

    def on_event(self, event: events.Event) -> None:
        """Log an epoch as soon as it is over."""
        if isinstance(event, events.EpochEnded):
            self.epoch = event.epoch
            suffix = "" if event.model == self.run.name else f".{event.model}"
            self.run.log_metrics(
                {f"{key}{suffix}": value for key, value in facts.epoch_metrics(event).items()}, self.epoch
            )


def _own_device(inputs: dict[str, Any]) -> str:
    """Return the device of a node in this process."""
    choice = next((value for name, value in inputs.items() if name.endswith("devices")), None)
    return "cpu" if choice is None else str(resolve_device(choice))


def _exported_run() -> Run | None:
    """Return the pipeline's run from the environment; none if its process exported none."""
    if _RUN not in os.environ:
        return None
    experiment, _, run_id = os.environ[_RUN].partition("/")
    run = _new_run("", os.environ[_URI])
    run.experiment, run.id = experiment, run_id
    return run


def _new_run(name: str, uri: str) -> Run:
    # Imported late: mlflow takes more than a second, and not every command tracks something.
    from knowledge_transfer.tracking.runs import Run
    from knowledge_transfer.tracking.server import Server

    return Run(Server(uri), name)
