"""One fit on several devices of this machine: a process for each; this one only listens."""

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
from typing import Any

import torch

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distributed import process
from knowledge_transfer.learning.distributed.worker import Failure, Message, RankKilledError, Work, nearness, take_part
from knowledge_transfer.learning.models.network import Network
from knowledge_transfer.learning.training import events, loop, resume
from knowledge_transfer.learning.training.loop import Fitted
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.sharding import Share

_GRACE = 3.0  # seconds for the ranks to end by themselves, or to say more, once one is done or has failed


def fit(
    network: Network,
    images: ImageSet,
    recipe: Recipe,
    *,
    replicas: int = 1,
    device: torch.device,
    name: str,
    **how: Any,
) -> Fitted:
    """Train as `loop.fit` does, which takes `how`, with every batch shared out among `replicas` devices.

    On CUDA these are cuda:0 and on; on the CPU they are processes that divide the threads. The batch stays the
    recipe's: batch statistics, losses and, on the CPU, dropout masks are those of the whole batch, so the result is one
    device's up to rounding. After three epochs, weights and losses in float64 are within 1e-5; in float32 the losses of
    a ResNet8 at a small rate within 1e-3, while a deep network makes as much of rounding as of first weights that
    differ by 1e-6. `network` itself is not changed.

    Raises ValueError, before anything is started, where devices or images in a batch are too few, or for a `window`;
    what a rank raises, its traceback as the cause; RankKilledError, naming it, when a rank is killed.
    """
    if replicas == 1:
        return loop.fit(network, images, recipe, device=device, name=name, **how)
    _require(replicas, device, min(recipe.batch_size, len(images)))
    if recipe.window is not None:
        raise ValueError("a window of images is for one device, replicas have all of them: leave window out")
    how |= {"device": device, "name": name}
    threads = max(1, torch.get_num_threads() // replicas)
    with TemporaryDirectory(prefix="ranks-", ignore_cleanup_errors=True) as folder:
        # Plain bytes: torch's own pickling between processes fills /dev/shm, which has 64 MiB in many a container.
        work = pickle.dumps(Work(network, images, recipe, how, resume.keeping(), folder, threads))
        ranks: list[_Rank] = []
        try:
            # One by one, so that those that were started are stopped if the next cannot be.
            for number in range(replicas):
                ranks.append(_Rank.start(number, replicas, name))  # noqa: PERF401
            for rank in ranks:
                rank.send(work)
            return _listen(ranks)
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
        raise ValueError(f"a batch of {batch} images cannot be shared out among {replicas} replicas")


@dataclass
class _Rank:
    """A rank as its parent sees it."""

    title: str
    process: BaseProcess
    connection: Connection
    has_failed: bool = False

    @staticmethod
    def start(number: int, ranks: int, name: str) -> _Rank:
        ours, theirs = multiprocessing.Pipe()
        title = f"rank {number} of {name}"
        with theirs:  # open in the rank alone, so that the pipe ends with it
            child = process.start(take_part, theirs, Share(number, ranks), name=title)
        return _Rank(title, child, ours)

    def send(self, work: bytes) -> None:
        # A rank that is dead already cannot be told anything; it is heard of as soon as somebody listens.
        with suppress(OSError):
            self.connection.send_bytes(work)

    def hear(self) -> Message | None:
        """Return the next message; at the end of the pipe a Failure if the rank died without one, then none."""
        try:
            message: Message = pickle.loads(self.connection.recv_bytes())  # noqa: S301 - its own
        except (EOFError, OSError):
            self.process.join(_GRACE)
            if self.has_failed or self.process.exitcode == 0:
                return None
            end = RankKilledError(f"{self.title} {process.how_it_ended(self.process.exitcode)}")
            message = Failure(end, "", time.monotonic(), self.process.exitcode)
        self.has_failed = isinstance(message, Failure)
        return message


def _listen(ranks: Sequence[_Rank]) -> Fitted:
    """Return what rank 0 made, its events emitted here; raise the failure that the others come from."""
    fitted: Fitted | None = None
    failures: list[tuple[_Rank, Failure]] = []
    for rank, message in _messages(ranks):
        if isinstance(message, Fitted):
            fitted = message
        elif isinstance(message, Failure):
            failures.append((rank, message))
        else:
            events.emit(message)
    if fitted is not None:
        return fitted
    if not failures:
        raise RuntimeError(f"{ranks[0].title} ended and left no result")
    rank, failure = min(failures, key=lambda each: nearness(each[1]))
    raise failure.error from RuntimeError(f"in {rank.title}:\n{failure.trace}") if failure.trace else None


def _messages(ranks: Sequence[_Rank]) -> Iterator[tuple[_Rank, Message]]:
    """Yield what the ranks say until all have ended, or, once one is done or has failed, for _GRACE seconds more."""
    speaking, deadline = list(ranks), math.inf
    while speaking:
        left = deadline - time.monotonic()
        ready = wait([rank.connection for rank in speaking], None if math.isinf(left) else max(0.0, left))
        if not ready:
            return
        for rank in [rank for rank in speaking if rank.connection in ready]:
            message = rank.hear()
            if message is None:
                speaking.remove(rank)
                continue
            if isinstance(message, Fitted | Failure):
                deadline = min(deadline, time.monotonic() + _GRACE)
            yield rank, message
