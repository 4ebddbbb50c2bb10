"""Snapshots: the state of a running fit, from which an interrupted one continues; `snapshot_to` chooses the store."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.losses.soft_loss import LossFunction, SoftLoss
from knowledge_transfer.learning.models.network import weights_sha256
from knowledge_transfer.learning.training.trainer import Trainer

logger = logging.getLogger(__name__)
_DIGEST = 32  # bytes of a sha256
_FORMAT = 4  # raise it whenever the content of a snapshot, or what a step makes of it, changes


class SnapshotStore(Protocol):
    """The store of one snapshot; picklable, because the ranks of a fit on several devices read it too.

    An interrupted `write` should leave the former snapshot whole. The owner deletes that of a completed fit.
    """

    def read(self) -> bytes | None:
        """Return what was last written, none if there is nothing."""

    def write(self, content: bytes) -> None:
        """Replace what was there by `content`."""


@dataclass(frozen=True)
class SnapshotTarget:
    """Where the fits of a context save their snapshots, and the least number of seconds between two of them."""

    store: SnapshotStore
    every: float


# Per context, like the listeners of `events`: fits in threads of one process have a store each.
_target: ContextVar[SnapshotTarget | None] = ContextVar("snapshot target", default=None)


@contextmanager
def snapshot_to(store: SnapshotStore, *, every: float = 30.0) -> Iterator[None]:
    """Let the fit within the block save snapshots to `store`, at least `every` seconds apart (0: after each epoch)."""
    token = _target.set(SnapshotTarget(store, every))
    try:
        yield
    finally:
        _target.reset(token)


def snapshot_target() -> SnapshotTarget | None:
    """Return where snapshots are saved in this context, none if nowhere."""
    return _target.get()


class Snapshots:
    """The snapshots of one fit; without a store in the context there are none, and nothing is computed for them."""

    def __init__(self, identity: Callable[[], str]) -> None:
        self._target = snapshot_target()
        self._identity = identity().encode() if self._target else b""
        self._written = time.monotonic()
        self._has_warned = False

    def read(self) -> dict[str, Any] | None:
        """Return what this fit saved last; none where there is nothing, or a damaged or another fit's snapshot."""
        content = self._target.store.read() if self._target else None
        if content is None:
            return None
        digest, saved = content[:_DIGEST], memoryview(content)[_DIGEST:]
        if digest != self._digest(saved):
            return None
        snapshot: dict[str, Any] = torch.load(io.BytesIO(saved), map_location="cpu", weights_only=True)
        return snapshot

    def maybe_save(self, snapshot: Callable[[], dict[str, Any]]) -> None:
        """Save `snapshot()`, of tensors and plain values, unless the last one was saved too recently."""
        if self._target is None or time.monotonic() - self._written < self._target.every:
            return
        buffer = io.BytesIO()
        torch.save(snapshot(), buffer)
        saved = buffer.getbuffer()
        self._written = time.monotonic()
        try:
            self._target.store.write(self._digest(saved) + saved)
        except Exception as error:  # any error of a store: it must not stop the fit that it protects
            if not self._has_warned:
                logger.warning("no snapshot can be saved (%s): an interrupted fit will start again", error)
            self._has_warned = True

    def _digest(self, saved: memoryview) -> bytes:
        # Of the fit and the bytes together: only a complete snapshot of this very fit is loaded.
        digest = hashlib.sha256(self._identity)
        digest.update(saved)
        return digest.digest()


def identity(trainer: Trainer, images: ImageSet, validation: ImageSet) -> str:
    """Return the hex digest of all that decides the result of a fit before its first step, up to rounding."""
    options, weights = trainer.options, trainer.objective.image_weights
    soft = options.distillation
    facts = (
        (_FORMAT, torch.__version__),
        (options.name, trainer.recipe.model_dump_json(), options.seed, options.seed_of_views, options.device.type),
        *((each.sha256, each.blocks) for each in (images, validation)),
        soft and (_named(soft.soft_loss), soft.alpha, soft.by_confidence, soft.gamma),
        soft and weights_sha256({"logits": soft.teacher_logits}),
        weights is not None and weights_sha256({"images": weights}),
        weights_sha256(trainer.network.state_dict()),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _named(loss: LossFunction) -> str:
    """Return the name of a loss with its options, without the variables of a closure."""
    if isinstance(loss, SoftLoss):
        return repr((_named(loss.function), sorted(loss.options.items())))
    return f"{loss.__module__}.{getattr(loss, '__qualname__', type(loss).__qualname__)}"
