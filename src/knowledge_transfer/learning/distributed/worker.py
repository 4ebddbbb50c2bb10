"""The work of one rank of a fit on several devices, in its own process."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import time
import traceback
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.models.network import Network
from knowledge_transfer.learning.training import events, loop
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.resume import SnapshotTarget, snapshot_to
from knowledge_transfer.learning.training.sharding import Shard
from knowledge_transfer.learning.training.trainer import FitOptions

_PACKAGE = "knowledge_transfer."
# A rank waits this long for another, for example while rank 0 validates. A dead rank is detected at once.
_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Work:
    """What every rank receives: the arguments of the fit, the snapshots, the folder of the ranks' store, threads."""

    network: Network
    images: ImageSet
    recipe: Recipe
    options: FitOptions
    validation: ImageSet
    snapshots: SnapshotTarget | None
    folder: str
    threads: int


@dataclass(frozen=True)
class Failure:
    """The error of a rank, and its time on the machine's clock; of a killed rank the exit code, without a traceback."""

    error: Exception
    trace: str
    at: float
    exitcode: int | None = None


class RankError(RuntimeError):
    """A ValueError that a library raised in a rank."""


class RankKilledError(RuntimeError):
    """The process of a rank ended without an error message: it was killed, or memory ran out."""


Message = events.Event | loop.FitState | Failure


def distance_to_cause(failure: Failure) -> tuple[int, float]:
    """Return a sort key by which the failure that caused all others comes first.

    A rank that ends makes the others fail in their communication, and their messages may arrive first. So an error that
    communication cannot raise comes before a death, and a death before the rest. NCCL aborts the process where another
    rank failed, so an abort comes last.
    """
    if failure.exitcode is not None:
        return (3 if failure.exitcode == -signal.SIGABRT else 1), failure.at
    may_be_communication = type(failure.error) is RuntimeError or isinstance(failure.error, dist.DistError)
    return (2 if may_be_communication else 0), failure.at


def run_rank(connection: Connection, shard: Shard) -> None:
    """Train the shard of the work that arrives; rank 0 sends events and the result, any rank its failure."""
    try:
        work: Work = pickle.loads(connection.recv_bytes())  # noqa: S301 - from the process that started this one
        torch.set_num_threads(work.threads)
        options = replace(work.options, device=_join(work, shard))
        with snapshot_to(work.snapshots.store, every=work.snapshots.every) if work.snapshots else nullcontext():
            if shard.rank == 0:
                events.subscribe(lambda event: connection.send_bytes(pickle.dumps(event)))
            fitted = loop.fit(work.network, work.images, work.recipe, options, work.validation, shard)
            if shard.rank == 0:
                connection.send_bytes(pickle.dumps(fitted))
        dist.barrier()
        dist.destroy_process_group()
    except Exception as error:
        connection.send_bytes(_failure(error))
        # Without cleanup, which would wait for ranks that wait for this one.
        os._exit(1)


def _join(work: Work, shard: Shard) -> torch.device:
    """Join the other ranks, on this machine's loopback alone; return the rank's device."""
    kind = work.options.device.type
    device = torch.device(kind, shard.rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    if loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", loopback)
    dist.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        # A file, for a port that is free now may be taken by the time it is opened.
        store=dist.FileStore(str(Path(work.folder) / "ranks"), shard.ranks),  # type: ignore[attr-defined]
        rank=shard.rank,
        world_size=shard.ranks,
        timeout=_PATIENCE,
        device_id=device if kind == "cuda" else None,
    )
    return device


def _failure(error: Exception) -> bytes:
    """Return a Failure as bytes, with the type and text alone where the error itself cannot be pickled."""
    trace = "".join(traceback.format_exception(error))
    now = time.monotonic()
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    if type(error) is ValueError and not str(frame.f_globals.get("__name__")).startswith(_PACKAGE):
        # Only ValueErrors of this package are messages for users.
        error = RankError(f"ValueError: {error}")
    try:
        content = pickle.dumps(Failure(error, trace, now))
        pickle.loads(content)  # noqa: S301 - made in the line above; some errors cannot be made again
    except Exception:
        return pickle.dumps(Failure(RuntimeError(f"{type(error).__name__}: {error}"), trace, now))
    return content
