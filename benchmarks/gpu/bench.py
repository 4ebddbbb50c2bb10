"""What every section is given: the device, the sizes, the images and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch

from benchmarks.gpu.data import Published
from benchmarks.gpu.measure import matmul_rate
from knowledge_transfer.learning.hardware import has_native_bf16
from knowledge_transfer.learning.models.architecture import Architecture

KINDS = ("simple_cnn", "resnet8", "resnet50", "squeezenet", "vgg19")
Work = Callable[[], dict[str, Any]]
# Each row's name with what measures it; the next is asked for when the one before is written down.
Rows = Iterator[tuple[str, Work]]


@dataclass(frozen=True)
class Sizes:
    """How much is measured; `epochs` and `batch_size` are the experiment's, none: as its recipes say."""

    width: float = 1.0
    batches: tuple[int, ...] = (128, 512)
    steps: int = 20
    repeats: int = 3
    product: int = 8192
    answers: int = 10_240
    peer_images: int = 5120
    peer_views: int = 4
    members: int = 24
    member_images: int = 2560
    neighbours: tuple[str, ...] = KINDS[:4]
    target_epochs: int = 25
    goals: tuple[float, ...] = (0.90, 0.93, 0.94)
    epochs: int | None = None
    batch_size: int | None = None


TINY = Sizes(
    width=0.125,
    batches=(8,),
    steps=2,
    repeats=1,
    product=64,
    answers=16,
    peer_images=16,
    peer_views=1,
    members=2,
    member_images=512,
    neighbours=KINDS[:2],
    target_epochs=2,
    goals=(0.10, 1.01),
    epochs=2,
    batch_size=16,
)


class OutOfTimeError(RuntimeError):
    """The time that the caller gave is over."""


@dataclass
class Clock:
    """Seconds left of those that the caller gave, from now on."""

    seconds: float
    began: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        """Seconds left, below zero once it is over."""
        return self.seconds - (time.perf_counter() - self.began)

    def require(self, *_: object) -> None:
        """Raise OutOfTimeError if nothing is left; takes any event of a fit, to end one between two epochs."""
        if self.left <= 0:
            raise OutOfTimeError("out of time")


@dataclass(frozen=True)
class Bench:
    """Where, how much, on what and until when is measured; `workers` are those of the usual image loader."""

    device: torch.device
    sizes: Sizes
    images: Published
    clock: Clock
    workers: int = 0
    kinds: tuple[str, ...] = KINDS

    def architecture(self, kind: str) -> Architecture:
        """Return the architecture of that kind at the width that is measured."""
        return Architecture.model_validate({"kind": kind, "width": self.sizes.width})

    @cached_property
    def fast_rate(self) -> float:
        """Multiply-adds per second of a large matrix product in the precision that learning takes here."""
        kind = torch.bfloat16 if has_native_bf16(self.device) else torch.float32
        return matmul_rate(self.device, kind, self.sizes.product)


def each(names: tuple[str, ...], measure: Callable[[str], dict[str, Any]]) -> Rows:
    """Yield one row for each name."""
    for name in names:
        yield name, partial(measure, name)
