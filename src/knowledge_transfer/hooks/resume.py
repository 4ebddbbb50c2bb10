"""A run that reads earlier results must have the same image sets, a resumed run the same parameters."""

import hashlib
import json
import logging
import math
import time
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from knowledge_transfer.datasets.storage.store import file_of
from knowledge_transfer.errors import RunError
from knowledge_transfer.experiment.config import STUDIES, parameters_of
from knowledge_transfer.experiment.current import is_inference, part_of

logger = logging.getLogger(__name__)
_STAMP = "provenance"
_WITHOUT_EFFECT = ("devices", "per_device", "seeds", "images", "model", "format")  # on results


class ResumeHooks:
    """Writes to `provenance` which parameters made the results and since when; refuses to mix results of two."""

    def __init__(self) -> None:
        self._pending: tuple[str, dict[str, Any], CatalogProtocol] | None = None

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Raise RunError when a resumed run would mix results of two sets of parameters; prepare a stamp."""
        part = part_of(pipeline)
        prefix = f"{part}_" if part else ""
        stamp, sets, report = (f"{prefix}{name}" for name in (_STAMP, "student_images", "data_report"))
        if stamp not in catalog or is_inference(pipeline):
            return
        everything = _plain(catalog.load("parameters"))
        parameters = parameters_of(everything, part)
        if part in STUDIES:  # the main experiment's parameters describe their images
            parameters |= {key: everything.get(key) for key in ("data", "domains")}
        if sets in pipeline.inputs() and catalog.exists(report):
            _require_present_sets(parameters, catalog.load(report), part)
        present = _digest(parameters)
        known = catalog.load(stamp) if catalog.exists(stamp) else None
        is_same = known is not None and known["parameters_sha256"] == present
        resumes = run_params.get("only_missing_outputs")
        if resumes and known is not None:
            if not is_same:
                raise RunError(
                    "the results in data/ were made with other parameters: run without --only-missing-outputs, or use "
                    "those parameters"
                )
            _forget_before(known["since"], pipeline, catalog)
        # A run that splits the images makes every result anew.
        cuts = any(name == sets or name.endswith("_training_images") for name in pipeline.all_outputs())
        keeps = is_same and (resumes or not cuts)
        self._pending = None if keeps else (stamp, {"parameters_sha256": present, "since": time.time()}, catalog)

    @hook_impl
    def before_dataset_saved(self) -> None:
        """Write the stamp before the first result; a run that ends without a result writes none."""
        if self._pending is not None:
            stamp, content, catalog = self._pending
            self._pending = None
            catalog.save(stamp, content)

    # Other processes may save the first result, with this event or without.
    on_output_saved = after_pipeline_run = before_dataset_saved


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters as JSON has them; some are models."""
    plain: dict[str, Any] = json.loads(json.dumps(parameters, default=lambda model: model.model_dump(mode="json")))
    return plain


def _require_present_sets(parameters: dict[str, Any], report: dict[str, Any], variant: str) -> None:
    """Raise RunError when the image sets that a stage would read were made from other data, or split differently."""
    mix = list(dict.fromkeys(student["domain"] for student in parameters["students"].values()))
    domains = {name: domain for name, domain in parameters["domains"].items() if name in mix}
    present = {**parameters, "mix": mix, "domains": domains}
    again = f"{variant} --to-nodes=data_preparation.measure_normalisation" if variant else "data_preparation"
    for key, then in report["made_from"].items():
        if present[key] != then:
            raise RunError(
                f"the image sets in data/ were made with {key} {then}, this run has {present[key]}: "
                f"run --pipelines={again} first"
            )


def _digest(parameters: dict[str, Any]) -> str:
    counted = {key: value for key, value in parameters.items() if key not in _WITHOUT_EFFECT}
    if "target" in counted:  # a study has none
        counted["target"] = {key: value for key, value in counted["target"].items() if key not in _WITHOUT_EFFECT}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()


def _forget_before(since: float, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    """Delete the outputs older than `since`, which an interrupted run had not replaced; not those of unknown age."""
    files = {name: file_of(catalog, name) for name in sorted(pipeline.all_outputs())}
    written = {name: file.modified() for name, file in files.items() if file}
    stale = [name for name, moment in written.items() if moment is not None and _is_before(moment, since)]
    for name in stale:
        file = files[name]
        if file:
            file.system.rm(str(file.path), recursive=True)
    if stale:
        logger.warning("%d results of an earlier run are recomputed, %s among them", len(stale), stale[0])


def _is_before(moment: float, since: float) -> bool:
    # Object stores round down to seconds.
    return moment < (math.floor(since) if moment.is_integer() else since)
