"""What every section of the suite receives: the device, the sizes, the images and the clock."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import torch

from benchmarks.common import ours
from benchmarks.common.cifar10 import Published
from benchmarks.common.timing import matmul_rate

KINDS = ("simple_cnn", "resnet8", "resnet50", "squeezenet", "vgg19")
Work = Callable[[], dict[str, Any]]
# Each row's name with the function that measures it; the suite takes the next row after it has written this one.
Rows = Iterator[tuple[str, Work]]


@dataclass(frozen=True)
class Sizes:
    """How much the suite measures; without `epochs` and `batch_size` the experiment follows its recipes.

    `seconds` of work lie between two readings of the clock; `product` is the side of the square matrices.
    """

    width: float = 1.0
    batches: tuple[int, ...] = (128, 512)
    seconds: float = 0.3
    repeats: int = 5
    profile_steps: int = 10
    product: int = 8192
    predicted: int = 10_240
    peer_images: int = 5120
    peer_views: int = 4
    members: int = 24
    member_images: int = 2560
    target_epochs: int = 25
    goals: tuple[float, ...] = (0.90, 0.93, 0.94)
    epochs: int | None = None
    batch_size: int | None = None

    def changed(self, changes: str) -> Sizes:
        """Return the sizes with changes such as `repeats=3 batches=[64]`. Raises ValueError for unknown ones."""
        known = [each.name for each in fields(self)]
        new: dict[str, Any] = {}
        for change in changes.split():
            name, _, value = change.partition("=")
            if name not in known or not value:
                raise ValueError(f"no size '{change}'{ours.did_you_mean(name, known)} Sizes are {', '.join(known)}")
            given = json.loads(value)
            new[name] = tuple(given) if isinstance(given, list) else given
        return replace(self, **new)


ON_CPU = Sizes().changed("batches=[128] seconds=1.5 product=4096 predicted=512")
TINY = Sizes().changed(
    "width=0.125 batches=[8] seconds=0 repeats=1 profile_steps=2 product=64 predicted=16 peer_images=16 peer_views=1 "
    "members=2 member_images=512 target_epochs=2 goals=[0.1,1.01] epochs=2 batch_size=16"
)


class OutOfTimeError(RuntimeError):
    """The time that the caller gave is over."""


@dataclass
class Clock:
    """Counts down the seconds that the caller gave."""

    seconds: float
    began: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        """Seconds left, negative after the end."""
        return self.seconds - (time.perf_counter() - self.began)

    def require(self, *_: object) -> None:
        """Raise OutOfTimeError after the end; as a listener to events of a fit, it ends the fit between two epochs."""
        if self.left <= 0:
            raise OutOfTimeError("out of time")


@dataclass(frozen=True)
class Bench:
    """The device, sizes, images and time of a measurement; `workers` are processes of the usual image loader."""

    device: torch.device
    sizes: Sizes
    images: Published
    clock: Clock
    workers: int = 0
    kinds: tuple[str, ...] = KINDS

    def architecture(self, kind: str) -> ours.Architecture:
        """Return the architecture of that kind at the measured width."""
        return ours.architecture(kind, self.sizes.width)

    @cached_property
    def fast_rate(self) -> float:
        """Multiply-adds per second of a large matrix product in the precision of training on this device."""
        kind = torch.bfloat16 if ours.has_native_bf16(self.device) else torch.float32
        return matmul_rate(self.device, kind, self.sizes.product)
