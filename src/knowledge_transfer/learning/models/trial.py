"""A trial of a network before anything is trained: two images through it and back."""

from __future__ import annotations

import torch
from torch import Tensor

from knowledge_transfer.learning.models import external
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import build, undisturbed
from knowledge_transfer.learning.models.weights import Pretrained

_IMAGES = 2


def require_learns(
    architecture: Architecture,
    *,
    classes: int,
    channels: int,
    image_size: int,
    mean: tuple[float, ...] = (0.5,),
    deviation: tuple[float, ...] = (0.5,),
    start: Pretrained | None = None,
    freeze: bool = False,
) -> None:
    """Raise ValueError, in one line, unless the network can be built, takes such images and can learn their classes.

    `mean` and `deviation` are those of its normalisation, `start` the weights that it starts with (none: fresh ones).
    A built-in network is tried without memory.
    """
    is_real = architecture.is_external or start is not None
    device = torch.device("cpu" if is_real else "meta")
    with undisturbed(), device, torch.enable_grad():
        torch.manual_seed(0)
        network = build(
            architecture, classes=classes, channels=channels, image_size=image_size, mean=mean, deviation=deviation
        )
        if start is not None:
            start.put_into(network)
        if freeze:
            network.freeze()
        learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
        if not learning:
            raise ValueError("it has no parameters that can learn")
        pixels = network.prepared(torch.randint(256, (_IMAGES, channels, image_size, image_size)))
        try:
            # As a fit lays them out, in which `view` may fail where `flatten` does not.
            network = network.to(memory_format=torch.channels_last).train()
            logits = network.body(pixels.to(memory_format=torch.channels_last))
        except Exception as error:
            raise ValueError(
                f"it fails on images of {list(pixels.shape[1:])} ({external.in_one_line(error)}); `enlarge_to` "
                "scales them"
            ) from error
        _require_logits(logits, classes * architecture.heads)
        if not is_real:
            return
        logits.square().sum().backward()
        if not any(each.grad is not None and bool(each.grad.abs().sum() > 0) for each in learning):
            raise ValueError("its logits depend on none of its parameters: no gradient reaches them")


def _require_logits(logits: object, outputs: int) -> None:
    if not isinstance(logits, Tensor):
        raise ValueError(f"it returns a {type(logits).__name__}, not a tensor of logits")
    if list(logits.shape) != [_IMAGES, outputs]:
        raise ValueError(f"it returns logits of shape {list(logits.shape)}, not {[_IMAGES, outputs]}")
    if not logits.is_floating_point() or (logits.device.type != "meta" and not bool(logits.isfinite().all())):
        raise ValueError("its logits are not finite numbers")
    if not logits.requires_grad:
        raise ValueError("its logits carry no gradient")
