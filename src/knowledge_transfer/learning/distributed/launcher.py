"""One fit on several devices of this machine: a process for each, while this one receives their messages."""

from __future__ import annotations

import math
import multiprocessing
import pickle
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from tempfile import TemporaryDirectory

import torch

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distributed import process
from knowledge_transfer.learning.distributed.worker import (
    Failure,
    Message,
    RankKilledError,
    Work,
    distance_to_cause,
    run_rank,
)
from knowledge_transfer.learning.models.network import Network
from knowledge_transfer.learning.training import events, loop
from knowledge_transfer.learning.training.loop import FitState
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.resume import snapshot_target
from knowledge_transfer.learning.training.sharding import Shard
from knowledge_transfer.learning.training.trainer import FitOptions

_GRACE = 3.0  # seconds for the ranks to end or to send more, once one is done or has failed


def fit(
    network: Network, images: ImageSet, recipe: Recipe, options: FitOptions, validation: ImageSet, replicas: int = 1
) -> FitState:
    """Train as `loop.fit` does, with every batch divided among `replicas` devices.

    On CUDA these are cuda:0 and on; on the CPU they are processes that divide the threads. Batch statistics, losses
    and, on the CPU, dropout masks are those of the whole batch: the result equals one device's up to rounding (after
    three epochs within 1e-5 in float64, within 1e-3 in float32 for a ResNet8). `network` itself is not changed.

    Raises ValueError, before any process starts, for too few devices or images in a batch, and for a `window`. Raises
    the error of a rank with its traceback as the cause, and RankKilledError, naming the rank, when one is killed.
    """
    if replicas == 1:
        return loop.fit(network, images, recipe, options, validation)
    _require(replicas, options.device, min(recipe.batch_size, len(images)))
    if recipe.window is not None:
        raise ValueError("a window of images is for one device, replicas have all of them: leave window out")
    threads = max(1, torch.get_num_threads() // replicas)
    ranks: list[_Rank] = []
    with TemporaryDirectory(prefix="ranks-", ignore_cleanup_errors=True) as folder:
        work = Work(network, images, recipe, options, validation, snapshot_target(), folder, threads)
        try:
            # One by one, so that the ranks that run are stopped if the next cannot be started.
            for number in range(replicas):
                ranks.append(_Rank.start(Shard(number, replicas), options.name))  # noqa: PERF401
            # Plain bytes: torch's own pickling between processes fills /dev/shm, which has 64 MiB in many a container.
            content = pickle.dumps(work)
            for rank in ranks:
                rank.send(content)
            return _collect(ranks)
        finally:
            process.stop([rank.process for rank in ranks], _GRACE)
            for rank in ranks:
                rank.connection.close()


def _require(replicas: int, device: torch.device, batch: int) -> None:
    if replicas < 1:
        raise ValueError(f"replicas is {replicas}: set it to 1 or more")
    if device.type not in ("cuda", "cpu"):
        raise ValueError(f"{replicas} replicas need CUDA devices or the CPU, not {device.type}: set replicas to 1")
    if device.type == "cuda" and device.index:
        raise ValueError(
            f"{replicas} replicas compute on cuda:0 and on, not from {device}: hide the other GPUs by "
            "CUDA_VISIBLE_DEVICES, or leave it to the project's DeviceRunner"
        )
    if device.type == "cuda" and torch.cuda.device_count() < replicas:
        raise ValueError(f"{replicas} replicas need as many GPUs, here are {torch.cuda.device_count()}")
    if batch < replicas:
        raise ValueError(f"a batch of {batch} images cannot be divided among {replicas} replicas")


@dataclass
class _Rank:
    """The process of a rank, and the connection to it."""

    title: str
    process: BaseProcess
    connection: Connection
    has_failed: bool = False

    @staticmethod
    def start(shard: Shard, name: str) -> _Rank:
        ours, theirs = multiprocessing.Pipe()
        title = f"rank {shard.rank} of {name}"
        with theirs:  # open in the rank alone, so that the pipe ends with it
            return _Rank(title, process.start(run_rank, theirs, shard, name=title), ours)

    def send(self, content: bytes) -> None:
        with suppress(OSError):  # `receive` reports the death of a rank
            self.connection.send_bytes(content)

    def receive(self) -> Message | None:
        """Return the next message; at the end of the pipe a Failure if the rank died without one, then none."""
        try:
            message: Message = pickle.loads(self.connection.recv_bytes())  # noqa: S301 - its own
        except (EOFError, OSError):
            self.process.join(_GRACE)
            exitcode = self.process.exitcode
            if self.has_failed or exitcode == 0:
                return None
            killed = RankKilledError(f"{self.title} {process.how_it_ended(exitcode)}")
            message = Failure(killed, "", time.monotonic(), exitcode)
        self.has_failed = isinstance(message, Failure)
        return message


def _collect(ranks: Sequence[_Rank]) -> FitState:
    """Return the result of rank 0 and emit its events; raise the failure that caused the others."""
    fitted: FitState | None = None
    failures: list[tuple[_Rank, Failure]] = []
    for rank, message in _messages(ranks):
        if isinstance(message, FitState):
            fitted = message
        elif isinstance(message, Failure):
            failures.append((rank, message))
        else:
            events.emit(message)
    if fitted is not None:
        return fitted
    if not failures:
        raise RuntimeError(f"{ranks[0].title} ended and left no result")
    rank, failure = min(failures, key=lambda each: distance_to_cause(each[1]))
    raise failure.error from RuntimeError(f"in {rank.title}:\n{failure.trace}") if failure.trace else None


def _messages(ranks: Sequence[_Rank]) -> Iterator[tuple[_Rank, Message]]:
    """Yield messages until all ranks have ended, or for _GRACE seconds after the first is done or has failed."""
    open_ranks, deadline = list(ranks), math.inf
    while open_ranks:
        left = None if math.isinf(deadline) else max(0.0, deadline - time.monotonic())
        ready = wait([rank.connection for rank in open_ranks], left)
        if not ready:
            return
        for rank in [rank for rank in open_ranks if rank.connection in ready]:
            message = rank.receive()
            if message is None:
                open_ranks.remove(rank)
                continue
            if isinstance(message, FitState | Failure):
                deadline = min(deadline, time.monotonic() + _GRACE)
            yield rank, message
