"""The network of an architecture behind its normalisation, its folding, and its weights."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from knowledge_transfer.learning.models.architecture import NETWORKS, Architecture
from knowledge_transfer.learning.models.blocks import Residual

_MIN_SIZE = 32  # VGG19 halves the image five times
_COUNTER = "num_batches_tracked"  # which older files lack, and on which no prediction depends


class Network(nn.Module):
    """A body behind its normalisation: it takes pixels as they are stored."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, body: nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...], heads: int = 1) -> None:
        super().__init__()
        self.body, self.heads = body, heads
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1) * 255)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits [B, classes] of pixels 0 … 255 [B, C, H, W]; training several heads, [B, heads, classes]."""
        logits: Tensor = self.body((pixels.float() - self.mean) / self.deviation)
        if self.heads == 1:
            return logits
        logits = logits.unflatten(1, (self.heads, -1))
        return logits if self.training else mean_of_heads(logits)


def build(
    architecture: Architecture,
    *,
    classes: int,
    channels: int,
    image_size: int,
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
) -> Network:
    """Return the network with fresh weights (He 2015, or passing input on) drawn from torch's global generator."""
    if image_size < _MIN_SIZE:
        raise ValueError(f"images of {image_size} pixels are too small: set image_size to {_MIN_SIZE} or more")
    body = architecture.body(classes=classes, channels=channels, image_size=image_size)
    is_identity = NETWORKS[architecture.kind].starts_as_identity
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            # The first layer has no channels to pass on: it makes them from colours.
            if is_identity and channels < module.in_channels <= module.out_channels:
                nn.init.dirac_(module.weight[: module.in_channels])
        elif isinstance(module, Residual) and module.depth == 3:
            # Residual branches that start at zero let sixteen blocks learn from the first steps (Goyal 2017).
            nn.init.zeros_(module.last_normalisation.weight)
    return Network(body, mean, deviation, architecture.heads)


def folded(network: Network) -> Network:
    """Return a copy of `network` in eval mode, for prediction only; equal to it up to rounding.

    It folds each batch normalisation that is registered right after a convolution; in the forward pass it must follow
    the convolution too, as in the blocks here.
    """
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        for (name, before), (after_name, after) in pairwise(list(module.named_children())):
            if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(before, after))
                setattr(module, after_name, nn.Identity())
    return network


def mean_of_heads(logits: Tensor) -> Tensor:
    """Return the log [B, C] of the mean distribution of the heads' logits [B, heads, C]; logits [B, C] as they are."""
    if logits.ndim == 2:
        return logits
    return logits.float().log_softmax(dim=2).logsumexp(dim=1) - math.log(logits.shape[1])


@dataclass(frozen=True, eq=False)
class Pretrained:
    """Weights trained elsewhere on other classes: a state dict by the body's own names, on the CPU, and its origin.

    `mean` and `deviation` are the channel statistics, of pixels in [0, 1], that it was trained with.
    """

    origin: str
    state: dict[str, Tensor]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the weights."""
        return weights_sha256(self.state)

    @torch.no_grad()
    def put_into(self, network: Network) -> None:
        """Copy these weights into `network`, except into its last layer, which predicts other classes.

        Raises ValueError that names what is missing or of another shape.
        """
        last = next(reversed(dict(network.body.named_children())))
        own = {name: each for name, each in network.body.state_dict().items() if not name.startswith(f"{last}.")}
        if missing := [name for name in own if name not in self.state and not name.endswith(_COUNTER)]:
            raise ValueError(
                f"the weights {self.origin} are not of this network: '{missing[0]}' is missing{_and_others(missing)}"
            )
        present = {name: each for name, each in own.items() if name in self.state}
        if unfit := [name for name, each in present.items() if each.shape != self.state[name].shape]:
            theirs, ours = list(self.state[unfit[0]].shape), list(present[unfit[0]].shape)
            raise ValueError(
                f"the weights {self.origin} are not of a network of this width: '{unfit[0]}' is {theirs}, here {ours}"
                f"{_and_others(unfit)}"
            )
        for name, tensor in present.items():
            tensor.copy_(self.state[name])


def _and_others(names: list[str]) -> str:
    return f", and so are {len(names) - 1} others" if len(names) > 1 else ""


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the hex digest of names, shapes, types and bytes of `state`, in name order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def cpu_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a detached, contiguous copy of the network's state on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}
