"""The step that bounds every other: forward, backward, optimizer, on one batch that is on the device already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.common import network
from knowledge_transfer.learning.hardware import autocast


@dataclass(frozen=True)
class Variant:
    """What is changed about the step; the default is what `Trainer` does.

    `compile` is torch.compile's mode. An optimizer that is not fused is torch's own choice: `foreach` on a GPU.
    """

    compile: str | None = None
    precision: Literal["auto", "fp32"] = "auto"
    channels_last: bool = True
    is_fused: bool = True
    cudnn_benchmark: bool = False


def bare_step(
    kind: str, width: float, batch: int, device: torch.device, how: Variant = Variant()
) -> Callable[[], Tensor]:
    """Return what takes one step of a fresh network and returns its loss, on the device."""
    layout = torch.channels_last if how.channels_last else torch.contiguous_format
    net = network(kind, width).to(device).to(memory_format=layout).train()
    answer = net if how.compile is None else torch.compile(net, mode=how.compile)
    optimizer = torch.optim.SGD(
        net.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=how.is_fused
    )
    pixels = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8, device=device).to(memory_format=layout)
    labels = torch.arange(batch, device=device) % 10

    def step() -> Tensor:
        if how.compile == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        with autocast(device, how.precision):
            logits = answer(pixels).float()
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
