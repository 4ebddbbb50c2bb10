"""The nodes that studies are made of: cut, train, label, teach, ask; names are those of `study_nodes`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any

from kedro.pipeline import node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment.current import training_tags
from knowledge_transfer.experiment.study_nodes import ask, cut, label_images, summarise, teach, train
from knowledge_transfer.learning.distillation.config import DistillationConfig


def cutting(name: str) -> Node:
    """Return the node that cuts the data set `name` of a study: `<name>_training_images` and so on."""
    return node(
        cut,
        {
            "training": f"published_{name}_training_images",
            "test": f"published_{name}_test_images",
            "data": f"params:sets.{name}.data",
            "seed": "params:seed",
        },
        [
            f"{name}_training_images",
            f"{name}_validation_images",
            f"{name}_test_images",
            f"{name}_data_report",
            f"{name}_normalisation",
        ],
        name=f"cut_{name}",
        namespace=name,
    )


def training(model: str, *, source: str, settings: str, repeat: int = 0, start: str | None = None) -> Node:
    """Return the node that trains `model` on the labels of the data set `source`, with the seed of that `repeat`.

    `settings` is where the study has its `Model`: `sets.digits.teacher`; `start` the dataset of pretrained weights that
    it starts from (none: fresh ones). Outputs `<model>_checkpoint`, `_history` and
    `_facts`.
    """
    return node(
        named(train, model, repeat),
        {
            **learning(source),
            "model": f"params:{settings}",
            **({} if start is None else {"start": start}),
        },
        f"{model}_checkpoint",
        name=f"train_{model}",
        namespace=source,
        tags=training_tags(model),
    )


def labelling(labels: str, teachers: Sequence[str], *, source: str, recipe: str) -> Node:
    """Return the node in which `teachers` label the training images of `source` in the views of a learner's `recipe`.

    It makes `<labels>_soft_labels`; `recipe` is where the study has it: `sets.digits.learner.recipe`.
    """
    return node(
        label_images,
        [
            f"{source}_training_images",
            f"params:{recipe}",
            "params:seed",
            "params:devices",
            *(f"{teacher}_checkpoint" for teacher in teachers),
        ],
        f"{labels}_soft_labels",
        name=f"label_by_{labels}",
        namespace=source,
        tags=["gpu"],
    )


def distilling(
    learner: str,
    how: DistillationConfig,
    labels: str,
    teachers: Sequence[str],
    *,
    source: str,
    settings: str,
    repeat: int = 0,
) -> Node:
    """Return the node that trains `learner` from `<labels>_soft_labels`, which the `teachers` gave, as `how` says.

    `settings` is where the study has the learner's `Model`. Learners of one `repeat` start from the same weights, if
    they are of one architecture, and see the same images in the same order: their differences are paired.
    """
    return node(
        named(teach, learner, repeat, how),
        {
            **learning(source),
            "soft_labels": f"{labels}_soft_labels",
            "model": f"params:{settings}",
            **{teacher: f"{teacher}_checkpoint" for teacher in teachers},
        },
        f"{learner}_checkpoint",
        name=f"teach_{learner}",
        namespace=source,
        tags=training_tags(learner),
    )


def asking(models: Sequence[str], part: str, *, source: str) -> Node:
    """Return the node that asks the models about a part of `source`: `<source>_<part>_answers_soft_labels`."""
    return node(
        ask,
        [
            f"{source}_{part}_images",
            f"{source}_training_images",
            "params:devices",
            *(f"{model}_checkpoint" for model in models),
        ],
        f"{source}_{part}_answers_soft_labels",
        name=f"ask_{source}_{part}",
        namespace=source,
        tags=["gpu"],
    )


def summing_up() -> Node:
    """Return the node that makes the study's `summary` of its `rows_table`."""
    return node(summarise, ["rows_table", "run_info", "params:seed"], "summary", name="summarise")


def learning(source: str) -> dict[str, str]:
    """Return what every fit on the data set `source` takes, by argument."""
    images = {"images": "training_images", "validation": "validation_images", "normalisation": "normalisation"}
    return {
        **{argument: f"{source}_{what}" for argument, what in images.items()},
        "seed": "params:seed",
        "device": "params:devices",
    }


def named(function: Callable[..., Any], *first: Any) -> Callable[..., Any]:
    """Return `function` with its first arguments given, under its own name, with the signature that is left."""
    left = partial(function, *first)
    signature = inspect.signature(left)
    given: Any = update_wrapper(left, function)
    # Kedro reads types from the function that is wrapped, and would count its arguments from the first.
    given.__signature__ = signature
    return given
