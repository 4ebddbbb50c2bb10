"""Builds the nodes of studies: those of one data set, and those over all of them."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import Any, TypeVar

from kedro.pipeline import Pipeline, node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import study_nodes, study_tables
from knowledge_transfer.experiment.current import build_part, training_tags
from knowledge_transfer.experiment.study_config import StudySettings
from knowledge_transfer.experiment.study_nodes import Fit
from knowledge_transfer.experiment.study_tables import Page, Roles

_Settings = TypeVar("_Settings", bound=StudySettings)
_Inputs = Mapping[str, str] | Sequence[str] | str


@dataclass(frozen=True)
class SetNodes:
    """Builds the nodes of the data set `name`, in a namespace of that name; datasets and nodes are called `<name>_…`.

    `settings` is the path of a `Model` in the settings of the data set: `teacher`.
    """

    name: str

    def node(
        self, function: Callable[..., Any], inputs: _Inputs, outputs: str | list[str], *, name: str, tags: Any = None
    ) -> Node:
        """Return a node in the namespace of this data set."""
        given: Any = inputs
        return node(function, given, outputs, name=name, namespace=self.name, tags=tags)

    def split(self) -> Node:
        """Return the node that splits the published images into `<name>_training_images` and so on."""
        inputs = {
            "training": f"published_{self.name}_training_images",
            "test": f"published_{self.name}_test_images",
            "data": f"params:sets.{self.name}.data",
            "seed": "params:seed",
        }
        kinds = ("training_images", "validation_images", "test_images", "data_report", "normalisation")
        made = [f"{self.name}_{kind}" for kind in kinds]
        return self.node(study_nodes.split_images, inputs, made, name=f"split_{self.name}")

    def train(self, fit: Fit, settings: str, teachers: Sequence[str] = (), labels: str = "", **further: str) -> Node:
        """Return the node that makes `<model>_checkpoint`, with `teachers` from `<labels>_soft_labels`.

        `labels` defaults to the first teacher. Models of one repeat and architecture start alike and see the same
        batches: their differences are paired. `further` are datasets by argument of `study_nodes.train`.
        """
        inputs = {**self.training_inputs(teachers, labels), "model": f"params:sets.{self.name}.{settings}", **further}
        return self.node(
            named(study_nodes.train, fit),
            inputs,
            f"{fit.model}_checkpoint",
            name=f"{'teach' if teachers else 'train'}_{fit.model}",
            tags=training_tags(fit.model),
        )

    def training_inputs(self, teachers: Sequence[str] = (), labels: str = "") -> dict[str, str]:
        """Return the datasets that every training node reads, by argument."""
        soft_labels = {"soft_labels": f"{labels or teachers[0]}_soft_labels"} if teachers else {}
        return {
            "images": f"{self.name}_training_images",
            "validation": f"{self.name}_validation_images",
            "normalisation": f"{self.name}_normalisation",
            "seed": "params:seed",
            "device": "params:devices",
            **soft_labels,
            **_checkpoints(teachers),
        }

    def label(self, teachers: Sequence[str], settings: str, labels: str = "") -> Node:
        """Return the node in which the teachers make `<labels>_soft_labels`, in the views of that learner."""
        # The whole model, not its recipe: Kedro cannot check both if a node without dependencies takes the model.
        name = labels or teachers[0]
        learner, images = f"params:sets.{self.name}.{settings}", f"{self.name}_training_images"
        inputs = [images, learner, "params:seed", "params:devices", *_checkpoints(teachers).values()]
        return self.node(study_nodes.label_images, inputs, f"{name}_soft_labels", name=f"label_by_{name}", tags=["gpu"])

    def predict(
        self, part: str, models: Iterable[str], *, of: str = "", fractions: Mapping[str, float] | None = None
    ) -> Node:
        """Return the node that makes `<name>_<of>_<part>_predictions_soft_labels` with the datasets `models`."""
        inputs = [f"{self.name}_{part}_images", f"{self.name}_training_images", "params:seed", "params:devices"]
        return self.node(
            named(study_nodes.predict_images, fractions or {}),
            [*inputs, *models],
            predictions(self.name, part, of),
            name="_".join(filter(None, ("predict", self.name, part, of))),
            tags=["gpu"],
        )

    def parts(self, parts: Iterable[str]) -> dict[str, str]:
        """Return predictions and images of the parts of this data set, by argument."""
        images = {f"{part}_images": f"{self.name}_{part}_images" for part in parts}
        return {f"{part}_predictions": predictions(self.name, part) for part in parts} | images

    def score(self, roles: Roles, parts: Sequence[str]) -> Node:
        """Return the node that makes `<name>_scores_table` of the predictions of the models on these parts."""
        inputs = self.parts(parts) | _checkpoints(roles)
        return self.table("scores", named(study_tables.score_models, roles, parts), inputs, name="score")

    def curves(self, roles: Roles) -> Node:
        """Return the node that makes `<name>_curves_table` of the learning curves of the models."""
        return self.table("curves", named(study_tables.collect_curves, roles), _checkpoints(roles))

    def table(self, kind: str, make: Callable[..., Any], inputs: _Inputs, *, name: str = "", tags: Any = None) -> Node:
        """Return the node that makes `<name>_<kind>_table`; it is called `<name or the function's>_<data set>`."""
        given = f"{name or make.__name__}_{self.name}"
        return self.node(make, inputs, f"{self.name}_{kind}_table", name=given, tags=tags)

    def figure(self, kind: str, draw: Callable[..., Any], tables: Iterable[str]) -> Node:
        """Return the node that makes `<name>_<kind>_figure` of tables of this data set."""
        inputs = [f"{self.name}_{table}_table" for table in tables]
        return self.node(draw, inputs, f"{self.name}_{kind}_figure", name=f"draw_{kind}_{self.name}")


def predictions(name: str, part: str, of: str = "") -> str:
    """Return the dataset of the predictions on a part of a data set, by the models `of` a seed (none: by all)."""
    return "_".join(filter(None, (name, of, part, "predictions_soft_labels")))


def _checkpoints(models: Iterable[str]) -> dict[str, str]:
    return {model: f"{model}_checkpoint" for model in models}


@dataclass(frozen=True)
class ClosingNodes:
    """Builds the nodes over all data sets of a study."""

    study: str
    sets: Sequence[str]

    def compare(self, table: str, make: Callable[..., Any], kind: str = "scores", tables: Iterable[str] = ()) -> Node:
        """Return the node that makes `<table>_table` of other `tables`, and of one of that kind of each data set."""
        inputs = {each: f"{each}_table" for each in tables} | {name: f"{name}_{kind}_table" for name in self.sets}
        return node(make, inputs, f"{table}_table", name=make.__name__)

    def report(
        self, compose: Callable[..., Page], tables: Iterable[str], kinds: Mapping[str, Sequence[str]] | Sequence[str]
    ) -> Node:
        """Return the node that makes the page of `tables`, and of those of the `kinds` that each data set has."""
        of_sets = kinds if isinstance(kinds, Mapping) else dict.fromkeys(self.sets, kinds)
        inputs = {
            "run_info": "run_info",
            "parameters": f"params:{self.study}",
            **{table: f"{table}_table" for table in tables},
            **tables_of(of_sets),
            **{f"{name}_data": f"{name}_data_report" for name in self.sets},
        }
        return node(named(study_tables.write_report, compose, of_sets), inputs, "report_page", name="write_report")


def tables_of(kinds: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the tables of these kinds of each data set, by `<data set>_<kind>`."""
    return {f"{name}_{kind}": f"{name}_{kind}_table" for name, own in kinds.items() for kind in own}


def build_study(
    name: str,
    settings: _Settings | None,
    nodes_of: Callable[[SetNodes, _Settings], Iterator[Node]],
    closing: Callable[[ClosingNodes, _Settings], Iterator[Node]],
) -> Pipeline:
    """Return the study: the `nodes_of` each data set, the `closing` nodes, and the `summary` of their `rows_table`."""

    def create(checked: Any) -> Pipeline:
        own = [each for data in checked.sets for each in nodes_of(SetNodes(data), checked)]
        summary = node(study_tables.summarise, ["rows_table", "run_info", "params:seed"], "summary", name="summarise")
        return Pipeline([*own, *closing(ClosingNodes(name, list(checked.sets)), checked), summary])

    return build_part(name, create, settings)


def named(function: Callable[..., Any], *first: Any) -> Callable[..., Any]:
    """Return `function` with its first arguments given, under its own name, with the signature that is left."""
    left = partial(function, *first)
    signature = inspect.signature(left)
    given: Any = update_wrapper(left, function)
    # Otherwise Kedro reads the signature of the wrapped function.
    given.__signature__ = signature
    return given
