"""Predictions of a trained network, their speed and their cost."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.hardware import autocast, prediction_batch_size


@torch.inference_mode()
def predict(
    network: nn.Module, images: ImageSet, *, device: torch.device, precision: Literal["auto", "bf16", "fp32"] = "auto"
) -> Tensor:
    """Return float32 logits [images, classes] on the CPU, without augmentation; leaves the network in eval mode."""
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    logits = []
    for batch in images.images.split(prediction_batch_size(device)):
        with autocast(device, precision):
            pixels = batch.to(device).to(memory_format=torch.channels_last)
            logits.append(network(pixels).float())
    return torch.cat(logits).cpu()


def multiply_adds(network: nn.Module, channels: int, image_size: int) -> int:
    """Return the multiply-adds of one image's forward pass through convolutions and linear layers."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(torch.zeros(1, channels, image_size, image_size, dtype=torch.uint8))
    return int(counter.get_total_flops()) // 2


def images_per_second(network: nn.Module, images: ImageSet, *, device: torch.device, repeats: int = 3) -> float:
    """Return the best of `repeats` rates of `predict` over a batch of the images, after a warm-up."""
    some = images.subset(torch.arange(min(prediction_batch_size(device), len(images))))
    durations = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        predict(network, some, device=device)
        durations.append(time.perf_counter() - began)
    return len(some) / min(durations[1:])


@torch.inference_mode()
def dead_relu_fraction(network: nn.Module, images: ImageSet, *, device: torch.device) -> float:
    """Return the largest fraction, 0 to 1, of a ReLU layer's channels that are zero for every image (no ReLU: NaN)."""
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    fired: dict[tuple[nn.Module, int], Tensor] = {}
    calls: Counter[nn.Module] = Counter()

    def record(module: nn.Module, _: object, output: Tensor) -> None:
        # torchvision's blocks call one ReLU several times: each call is a layer.
        layer = module, calls[module]
        calls[module] += 1
        now = output.transpose(0, 1).flatten(1).amax(1) > 0
        fired[layer] = now | fired.get(layer, torch.zeros_like(now))

    handles = [each.register_forward_hook(record) for each in network.modules() if isinstance(each, nn.ReLU)]
    for batch in images.images.split(prediction_batch_size(device)):
        calls.clear()
        network(batch.to(device).to(memory_format=torch.channels_last))
    for handle in handles:
        handle.remove()
    return max((float((~layer).float().mean()) for layer in fired.values()), default=math.nan)
