"""Events of a running fit: progress lines and experiment trackers subscribe here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class FitStarted:
    """A fit begins."""

    model: str
    epochs: int
    images: int
    parameters: int


@dataclass(frozen=True)
class FitResumed:
    """An interrupted fit continues; `epoch` is the last one that was completed, counted from 1."""

    model: str
    epoch: int


@dataclass(frozen=True)
class EpochEnded:
    """One row of a learning curve.

    Losses are means per image in nats, accuracies fractions in [0, 1]; `accuracy` is measured on the augmented
    training images while the weights change, on those without a label as agreement with the teacher. `epoch` counts
    from 1. `collapse` says what is wrong with the predictions on validation, if anything.
    """

    model: str
    epoch: int
    epochs: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    images_per_second: float
    seconds_left: float
    collapse: str = ""


Event = FitStarted | FitResumed | EpochEnded
Listener = Callable[[Event], None]

# Per context, not per process: nodes in threads of one process must not receive events of each other's fits.
_listeners: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


def subscribe(listener: Listener) -> None:
    """Call `listener` with every event emitted from now on in this thread of execution."""
    _listeners.set((*_listeners.get(), listener))


def unsubscribe(listener: Listener) -> None:
    """Stop calling `listener`; unknown listeners are ignored."""
    # Equality, not identity: a bound method is a new object each time it is looked up.
    _listeners.set(tuple(known for known in _listeners.get() if known != listener))


def emit(event: Event) -> None:
    """Call every listener with `event`, in the order they subscribed."""
    for listener in _listeners.get():
        listener(event)


@contextmanager
def reported_as(change: Callable[[Event], Event | None]) -> Iterator[None]:
    """Within the block, pass listeners `change(event)` instead of each event; nothing where that is none."""
    before = _listeners.get()

    def report(event: Event) -> None:
        if (changed := change(event)) is not None:
            for listener in before:
                listener(changed)

    token = _listeners.set((report,))
    try:
        yield
    finally:
        _listeners.reset(token)
