"""Snapshots: how far a fit is, so that one that was cut short goes on instead of starting afresh.

A fit knows no place to keep them: whoever runs it names one with `kept_in(store)`.
"""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.models.weights import weights_sha256
from knowledge_transfer.learning.training.trainer import Trainer

logger = logging.getLogger(__name__)
_DIGEST = 32  # bytes of a sha256
_FORMAT = 2  # to be raised whenever what a snapshot holds, or what a step makes of it, changes


class Store(Protocol):
    """A place for one snapshot; picklable, because the ranks of a fit on several devices read it too.

    `write` should leave the former snapshot whole if it is cut short; what it raises is told once, and the fit goes on.
    The snapshot of a fit that is over stays: whoever keeps it knows when its result is safe.
    """

    def read(self) -> bytes | None:
        """Return what was last written, none if there is nothing."""

    def write(self, content: bytes) -> None:
        """Keep `content` in place of what was there."""


@dataclass(frozen=True)
class Keeping:
    """Where the fits of a context keep their snapshots, and the least number of seconds between two of them."""

    store: Store
    every: float


# Per context, like the listeners of `events`: fits in threads of one process have a store each.
_keeping: ContextVar[Keeping | None] = ContextVar("keeping", default=None)


@contextmanager
def kept_in(store: Store, *, every: float = 30.0) -> Iterator[None]:
    """Let the fit within keep snapshots in `store`, at least `every` seconds apart (0: after each epoch)."""
    token = _keeping.set(Keeping(store, every))
    try:
        yield
    finally:
        _keeping.reset(token)


def keeping() -> Keeping | None:
    """Return where snapshots are kept in this context, none if nowhere."""
    return _keeping.get()


class Snapshots:
    """The snapshots of one fit; without a store in the context there are none, and nothing is computed for them."""

    def __init__(self, identity: Callable[[], str]) -> None:
        self._keeping = keeping()
        self._identity = identity().encode() if self._keeping else b""
        self._written = time.monotonic()
        self._has_warned = False

    def read(self) -> dict[str, Any] | None:
        """Return what this fit last offered; none where there is nothing, or a damaged or another fit's snapshot."""
        content = self._keeping.store.read() if self._keeping else None
        if content is None:
            return None
        digest, saved = content[:_DIGEST], memoryview(content)[_DIGEST:]
        if digest != self._digest(saved):
            return None
        snapshot: dict[str, Any] = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)
        return snapshot

    def offer(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        """Write `snapshot()`, of tensors and plain values, unless the last writing is too short a while ago."""
        if self._keeping is None or time.monotonic() - self._written < self._keeping.every:
            return
        buffer = io.BytesIO()
        torch.save(snapshot(), buffer)
        saved = buffer.getbuffer()
        self._written = time.monotonic()
        try:
            self._keeping.store.write(self._digest(saved) + saved)
        except Exception as error:  # whatever a store raises: it must not cost the fit that it is to protect
            if not self._has_warned:
                logger.warning("no snapshot can be kept (%s): a fit that is cut short now starts afresh", error)
            self._has_warned = True

    def _digest(self, saved: memoryview) -> bytes:
        # Of the fit and the bytes in one: nothing is read in that is not whole and this fit's own.
        digest = hashlib.sha256(self._identity)
        digest.update(saved)
        return digest.digest()


def identity(learner: Trainer, images: ImageSet, validation: ImageSet) -> str:
    """Return the hex digest of all that decides what comes out of a fit that has not taken a step yet.

    On how many devices it runs is not part of it: another number changes the result by rounding alone.
    """
    objective = learner.objective
    taught = objective and (_named(objective.soft_loss), objective.alpha, objective.gamma)
    teacher = objective and weights_sha256({"logits": objective.teacher_logits})
    facts = (
        (_FORMAT, torch.__version__),
        (learner.name, learner.recipe.model_dump_json(), learner.seed, learner.view_seed, learner.device.type),
        *((each.sha256, each.blocks) for each in (images, validation)),
        (taught, teacher, learner.image_weights is not None and weights_sha256({"images": learner.image_weights})),
        weights_sha256(learner.network.state_dict()),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _named(loss: Callable[..., Any]) -> str:
    """Return the names of a loss and its options; what a closure holds cannot be told."""
    if isinstance(loss, partial):
        return repr((_named(loss.func), loss.args, sorted(loss.keywords.items())))
    return f"{loss.__module__}.{getattr(loss, '__qualname__', type(loss).__qualname__)}"
