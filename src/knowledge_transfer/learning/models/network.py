"""The network of an architecture behind its normalisation, its folding, and its weights."""

from __future__ import annotations

import copy
import hashlib
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from knowledge_transfer.learning.models.architecture import NETWORKS, Architecture
from knowledge_transfer.learning.models.blocks import Residual

# Of torch's generator, which draws initial weights, order and dropout: no thread may disturb the fit of another.
GENERATOR = threading.RLock()
_COLOURS = 3


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let the block draw from torch's generator, and put that back; waits for a fit in another thread."""
    with GENERATOR, torch.random.fork_rng(devices=[]):
        yield


class Network(nn.Module):
    """A body behind its normalisation: it takes pixels as they are stored.

    It scales images to squares of `size` pixels, bilinear (none: not at all), and where the body `takes_colours`
    repeats grey ones as three. Once `freeze` was called, only the last layer learns.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        body: nn.Module,
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
        heads: int = 1,
        size: int | None = None,
        takes_colours: bool = False,
    ) -> None:
        super().__init__()
        self.body, self.heads, self.size, self.takes_colours = body, heads, size, takes_colours
        self.is_frozen = False
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1) * 255)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits [B, classes] of pixels 0 … 255 [B, C, H, W]; training several heads, [B, heads, classes]."""
        logits: Tensor = self.body(self.prepared(pixels))
        if self.heads == 1:
            return logits
        logits = logits.unflatten(1, (self.heads, -1))
        return logits if self.training else mean_of_heads(logits)

    def prepared(self, pixels: Tensor) -> Tensor:
        """Return what the body is given of pixels 0 … 255 [B, C, H, W]: normalised, scaled, in three colours."""
        images = (pixels.float() - self.mean) / self.deviation
        if self.size is not None:
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=False)
        return images.expand(-1, _COLOURS, -1, -1) if self.takes_colours else images

    @property
    def last_layer(self) -> tuple[str, nn.Linear | nn.Conv2d]:
        """Name in the body, and the layer that makes the logits. Raises ValueError when there is none."""
        layers = [(name, each) for name, each in self.body.named_modules() if isinstance(each, nn.Linear | nn.Conv2d)]
        if not layers:
            raise ValueError("the network has no linear layer and no convolution, of which the last makes the logits")
        return layers[-1]

    def freeze(self) -> None:
        """Let only the last layer learn; the rest of the body, its normalisation and dropout too, stays as it is."""
        self.body.requires_grad_(False)
        self.last_layer[1].requires_grad_(True)
        self.is_frozen = True

    def train(self, mode: bool = True) -> Network:
        """Set training mode, of a frozen network that of the last layer alone."""
        super().train(mode)
        if self.is_frozen:
            self.body.eval()
        return self


def build(
    architecture: Architecture,
    *,
    classes: int,
    channels: int,
    image_size: int,
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
) -> Network:
    """Return the network with fresh weights (He 2015, or passing input on) drawn from torch's global generator.

    One from elsewhere has its own. Raises ValueError when it cannot be built.
    """
    body = architecture.body(classes=classes, channels=channels, image_size=image_size)
    network = Network(body, mean, deviation, architecture.heads, architecture.size, architecture.takes_colours)
    if architecture.is_external:
        return network
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
    return network


def empty(architecture: Architecture, **of_images: Any) -> Network:
    """Return the network that `build` returns, for weights that are then replaced; draws nothing."""
    if not architecture.is_external:
        # To draw initial weights that are then replaced takes longer than to copy others.
        with torch.device("meta"):
            return build(architecture, **of_images)
    # One from elsewhere may read what it draws, or keep tensors that no file holds.
    with undisturbed():
        return build(architecture, **of_images)


@torch.no_grad()
def folded(network: Network, pixels: Tensor) -> Network:
    """Return a copy of `network` in eval mode, for prediction only; equal to it up to rounding.

    It folds each batch normalisation that is registered right after a convolution. Where it does not follow the
    convolution in the forward pass too, as `pixels` [B, C, H, W] show, nothing is folded.
    """
    plain = copy.deepcopy(network).eval()
    network = copy.deepcopy(plain)
    for module in list(network.modules()):
        for (name, before), (after_name, after) in pairwise(list(module.named_children())):
            if not (isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d)):
                continue
            if after.num_features == before.out_channels and after.running_mean is not None:
                setattr(module, name, fuse_conv_bn_eval(before, after))
                setattr(module, after_name, nn.Identity())
    expected = plain(pixels)
    is_another = (network(pixels) - expected).abs().max() > 1e-3 * expected.abs().max()
    return plain if is_another else network


def mean_of_heads(logits: Tensor) -> Tensor:
    """Return the log [B, C] of the mean distribution of the heads' logits [B, heads, C]; logits [B, C] as they are."""
    if logits.ndim == 2:
        return logits
    return logits.float().log_softmax(dim=2).logsumexp(dim=1) - math.log(logits.shape[1])


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
