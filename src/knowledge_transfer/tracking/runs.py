"""One MLflow run as this project uses it: start, log, end."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.tracking.process import is_alive
from knowledge_transfer.tracking.server import Server

Status = Literal["FINISHED", "FAILED", "KILLED"]
_PARENT_TAG = "mlflow.parentRunId"
_LONGEST_PARAMETER, _LONGEST_TAG = 6000, 5000  # MLflow cuts longer texts too, with a warning


@dataclass
class Run:
    """One run; without an id, because the call that creates it failed, it logs nothing."""

    server: Server
    name: str
    experiment: str = ""
    id: str = ""
    parent: Run | None = None

    def child(self, name: str) -> Run:
        """Return a run below this one, in the same experiment; not yet started."""
        return Run(self.server, name, parent=self)

    def enter(self, experiment: str, artifacts: str | None) -> None:
        """Put the run into the experiment; a new experiment keeps its artifacts at `artifacts`."""

        def prepare(client: MlflowClient) -> None:
            reap(client)
            known = client.get_experiment_by_name(experiment)
            self.experiment = known.experiment_id if known else client.create_experiment(experiment, artifacts)

        self.server.send(f"enter the experiment {experiment}", prepare)

    def start(self, tags: Mapping[str, Any]) -> None:
        """Create the run."""
        started, process = _now(), f"{platform.node()}/{os.getpid()}"

        def create(client: MlflowClient) -> None:
            if self.parent:
                self.experiment = self.parent.experiment
            if self.experiment:
                kin = {_PARENT_TAG: self.parent.id} if self.parent else {}
                texts = _texts({**tags, **kin, "process": process}, _LONGEST_TAG)
                self.id = client.create_run(self.experiment, started, texts, self.name).info.run_id

        self.server.send(f"start run {self.name}", create)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log flat parameters; long ones are cut."""
        texts = _texts(parameters, _LONGEST_PARAMETER)
        self._log("log the parameters of", params=[Param(*item) for item in texts.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics as of now, under names that MLflow accepts."""
        now = _now()
        points = [Metric(_clean(key), value, now, step) for key, value in metrics.items()]
        self._log("log the metrics of", metrics=points)

    def log_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; long ones are cut."""
        self._log("tag", tags=[RunTag(*item) for item in _texts(tags, _LONGEST_TAG).items()])

    def log_images(self, sets: Mapping[str, ImageSet]) -> None:
        """Record the image sets, by catalog name, that this run learns from or validates on."""
        inputs = []
        for name, images in sets.items():
            context = "validation" if "validation" in name else "train"
            dataset = Dataset(name, images.sha256[:36], "local", "{}", profile=f'{{"images": {len(images)}}}')
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
        self._send("log the image sets of", lambda client: client.log_inputs(self.id, inputs))

    def log_file(self, file: Store, folder: str | None) -> None:
        """Copy the file, if there is one, to the run's artifacts, into `folder`."""

        def log(client: MlflowClient) -> None:
            if file.exists():
                with file.on_disk() as path:
                    client.log_artifact(self.id, str(path), folder)

        self._send(f"log {file.address} in", log)

    def log_model(self, checkpoint: Checkpoint, step: int) -> None:
        """Log the network so that it loads without this package; register it as `<experiment>.<model>`."""
        # Imported late: it takes seconds, and most training processes register nothing.
        from knowledge_transfer.tracking.models import register

        self._send("register the model of", lambda client: register(client, self.id, checkpoint, step))

    def crown(self, models: list[Facts]) -> None:
        """Register the best of these models on validation as the experiment's own, with the alias `champion`."""
        from knowledge_transfer.tracking.models import crown

        self._send("name the champion of", lambda client: crown(client, self.experiment, models))

    def reap(self) -> None:
        """End the runs of processes that are gone, except this one."""
        self.server.send("end the runs of processes that are gone", lambda client: reap(client, present=self.id))

    def end(self, status: Status, error: Exception | None = None) -> None:
        """End the run, with the error if there is one, and children that lost their process as KILLED."""
        now = _now()
        if error:
            self.log_tags({"error": f"{type(error).__name__}: {error}"})

        def terminate(client: MlflowClient) -> None:
            orphans = f"tags.`{_PARENT_TAG}` = '{self.id}' AND attributes.status = 'RUNNING'"
            for child in client.search_runs([self.experiment], orphans):
                client.set_terminated(child.info.run_id, "KILLED", now)
            client.set_terminated(self.id, status, now)

        self._send("end", terminate)

    def _log(self, what: str, **batch: Any) -> None:
        self._send(what, lambda client: client.log_batch(self.id, **batch))

    def _send(self, what: str, call: Callable[[MlflowClient], Any]) -> None:
        self.server.send(f"{what} run {self.name}", lambda client: call(client) if self.id else None)


def reap(client: MlflowClient, present: str = "") -> None:
    """End every run whose process on this machine is gone, except the run with the id `present`."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    here = f"tags.process LIKE '{platform.node()}/%' AND attributes.status = 'RUNNING'"
    for run in client.search_runs(experiments, here):
        if run.info.run_id != present and not is_alive(int(run.data.tags["process"].rpartition("/")[2])):
            client.set_terminated(run.info.run_id, "KILLED")


def _texts(values: Mapping[str, Any], longest: int) -> dict[str, str]:
    return {_clean(key): str(value)[:longest] for key, value in values.items()}


def _clean(key: str) -> str:
    return re.sub(r"[^\w./-]+", "_", key).strip("_")


def _now() -> int:
    return int(time.time() * 1000)
