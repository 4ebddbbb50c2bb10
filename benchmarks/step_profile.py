"""Where the time of a training step goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.gpu.measure import breakdown, synchronise
from knowledge_transfer.learning.data.domains import parts_of
from knowledge_transfer.learning.training import trainer
from knowledge_transfer.learning.training.trainer import Trainer


def step_profile(learner: Trainer, count: int = 10) -> tuple[dict[str, float], dict[str, float]]:
    """Return the shares in [0, 1] of a step's time by phase, and by operator, the largest first.

    The phases are views (pixels and targets), the model forwards and backwards, the loss, the optimizer, and the rest.
    """
    learner.network.train()
    parts = parts_of(learner.domains[: learner.batch_size], learner.blocks, learner.device)
    batches = torch.arange(len(learner.domains), device=learner.device).split(learner.batch_size)

    def work() -> None:
        for number in range(count):
            learner.step(batches[number % len(batches)], parts, 0, number)

    work()
    with _phases(learner) as spent:
        began = time.perf_counter()
        work()
        whole = time.perf_counter() - began
    phases = {name: seconds / whole for name, seconds in spent.items()}
    phases["rest"] = 1 - sum(phases.values())
    return phases, breakdown(work, learner.device)["top"]


@contextmanager
def _phases(learner: Trainer) -> Iterator[dict[str, float]]:
    """Collect the seconds that each phase takes while the context lasts."""
    spent: dict[str, float] = {}

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            synchronise(learner.device)
            began = time.perf_counter()
            result = work(*given, **named)
            synchronise(learner.device)
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - began
            return result

        return call

    with (
        patch.object(trainer, "render", timed("views", trainer.render)),
        patch.object(learner.objective, "targets", timed("views", learner.objective.targets)),
        patch.object(learner, "forward", timed("model, forward", learner.forward)),
        patch.object(learner.objective, "loss", timed("loss", learner.objective.loss)),
        patch.object(torch.Tensor, "backward", timed("model, backward", torch.Tensor.backward)),
        patch.object(learner.updater.optimizer, "step", timed("optimizer", learner.updater.optimizer.step)),
    ):
        yield spent
