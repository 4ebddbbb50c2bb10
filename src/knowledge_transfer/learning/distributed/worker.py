"""What one rank of a fit on several devices does, in a process of its own."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import time
import traceback
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.models.network import Network
from knowledge_transfer.learning.training import events, loop
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.resume import Keeping, kept_in
from knowledge_transfer.learning.training.sharding import Share

# A rank waits this long for another: for rank 0 to validate, say. One that died is noticed at once all the same.
_OURS = "knowledge_transfer."
_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class Work:
    """What every rank is given: the arguments of the fit, where snapshots are kept, where the ranks meet, threads."""

    network: Network
    images: ImageSet
    recipe: Recipe
    how: dict[str, Any]
    keeping: Keeping | None
    meeting: str
    threads: int


@dataclass(frozen=True)
class Failure:
    """What a rank raised, with its traceback, and when, on the clock that a machine's processes share.

    Of a rank that died instead, its exit code.
    """

    error: Exception
    trace: str
    at: float
    exitcode: int | None = None


class RankError(RuntimeError):
    """A ValueError of a library in a rank."""


class RankKilledError(RuntimeError):
    """The process of a rank is gone and has not said why: it was killed, or memory ran out."""


Message = events.Event | loop.Fitted | Failure


def nearness(failure: Failure) -> tuple[int, float]:
    """Return how near to the cause of all others a failure is, the nearest first.

    A rank that is gone makes the others fail in the middle of talking to it, and they may be heard first. So an error
    that talking cannot raise comes before a death, and that before the rest; NCCL aborts where another failed.
    """
    if failure.exitcode is not None:
        return (3 if failure.exitcode == -signal.SIGABRT else 1), failure.at
    is_talk = type(failure.error) is RuntimeError or isinstance(failure.error, dist.DistError)
    return (2 if is_talk else 0), failure.at


def take_part(connection: Connection, share: Share) -> None:
    """Do the share of the work that arrives; rank 0 sends events and the Fitted, any rank what it raises."""
    try:
        work: Work = pickle.loads(connection.recv_bytes())  # noqa: S301 - from the process that started this one
        torch.set_num_threads(work.threads)
        device = _meet(work, share)
        how = {**work.how, "device": device, "share": share}
        with kept_in(work.keeping.store, every=work.keeping.every) if work.keeping else nullcontext():
            if share.rank == 0:
                events.subscribe(lambda event: connection.send_bytes(pickle.dumps(event)))
                connection.send_bytes(pickle.dumps(loop.fit(work.network, work.images, work.recipe, **how)))
            else:
                loop.follow(work.network, work.images, work.recipe, **how)
        dist.barrier()
        dist.destroy_process_group()
    except Exception as error:
        connection.send_bytes(_told(error))
        # No tidying up: it would wait for ranks that wait for this one.
        os._exit(1)


def _meet(work: Work, share: Share) -> torch.device:
    """Join the other ranks, on this machine's loopback alone; return the rank's device."""
    kind = work.how["device"].type
    device = torch.device(kind, share.rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
    if loopback:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", loopback)
    dist.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        # A file, for a port that is free now may be taken by the time it is opened.
        store=dist.FileStore(str(Path(work.meeting) / "ranks"), share.ranks),  # type: ignore[attr-defined]
        rank=share.rank,
        world_size=share.ranks,
        timeout=_PATIENCE,
        device_id=device if kind == "cuda" else None,
    )
    return device


def _told(error: Exception) -> bytes:
    """Return a Failure as bytes, by type and words alone where the error itself cannot be sent."""
    trace = "".join(traceback.format_exception(error))
    now = time.monotonic()
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    if type(error) is ValueError and not str(frame.f_globals.get("__name__")).startswith(_OURS):
        # Raised again by its parent it would look like a refusal of this package, whose words are meant for users.
        error = RankError(f"ValueError: {error}")
    try:
        content = pickle.dumps(Failure(error, trace, now))
        pickle.loads(content)  # noqa: S301 - made in the line above; some errors cannot be made again
    except Exception:
        return pickle.dumps(Failure(RuntimeError(f"{type(error).__name__}: {error}"), trace, now))
    return content
