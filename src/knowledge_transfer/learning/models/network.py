"""The network of an architecture, behind its normalisation; how it is folded, and how heads answer as one."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import Bottleneck

from knowledge_transfer.learning.models.architecture import Architecture, Kind
from knowledge_transfer.learning.models.cnn import cnn, simple_cnn
from knowledge_transfer.learning.models.resnet import SIZE, imagenet_resnet50, resnet8, resnet50
from knowledge_transfer.learning.models.squeezenet import squeezenet
from knowledge_transfer.learning.models.vgg import alexnet, vgg19

_BUILDERS: dict[Kind, Callable[[int, int, float], nn.Module]] = {
    "alexnet": alexnet,
    "simple_cnn": simple_cnn,
    "resnet8": resnet8,
    "resnet50": resnet50,
    "squeezenet": squeezenet,
    "vgg19": vgg19,
}


_MIN_SIZE = 32  # VGG19 halves the image five times


class Network(nn.Module):
    """A body behind its normalisation: takes pixels as they are stored, so no caller can forget to normalise."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, body: nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...], heads: int = 1) -> None:
        super().__init__()
        self.body, self.heads = body, heads
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1) * 255)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1) * 255)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits [B, classes] of uint8 (or 0 … 255 float) pixels [B, C, H, W].

        Of several heads, in training, what each says: [B, heads, classes].
        """
        logits: Tensor = self.body((pixels.float() - self.mean) / self.deviation)
        if self.heads == 1:
            return logits
        said = logits.unflatten(1, (self.heads, -1))
        return said if self.training else mean_of_heads(said)


def build(
    architecture: Architecture,
    *,
    classes: int,
    channels: int,
    image_size: int,
    mean: tuple[float, ...],
    deviation: tuple[float, ...],
) -> Network:
    """Return the network with fresh weights (He initialisation) drawn from torch's global generator.

    Raises ValueError for images smaller than 32 pixels, which VGG19 would halve away.
    """
    if image_size < _MIN_SIZE:
        raise ValueError(f"images of {image_size} pixels are too small: set image_size to {_MIN_SIZE} or more")
    outputs = classes * architecture.heads
    if architecture.layers is not None:
        body = cnn(outputs, channels, image_size, **architecture.layers.model_dump())
    elif architecture.kind == "imagenet_resnet50":
        body = imagenet_resnet50(outputs, architecture.width, architecture.enlarge_to or SIZE)
    else:
        body = _BUILDERS[architecture.kind](outputs, channels, architecture.width)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, Bottleneck):
            # Residual branches that start at zero let sixteen blocks learn from the first steps (Goyal 2017).
            nn.init.zeros_(module.bn3.weight)
    return Network(body, mean, deviation, architecture.heads)


def folded(network: Network) -> Network:
    """Return a copy of `network` in eval mode, for answering only; equal to it up to rounding.

    Every batch normalisation that is registered right after a convolution follows it in the forward pass, too: so do
    torchvision's blocks, and so must new architectures. Others stay as they are.
    """
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        for (name, before), (after_name, after) in pairwise(list(module.named_children())):
            if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(before, after))
                setattr(module, after_name, nn.Identity())
    return network


def mean_of_heads(said: Tensor) -> Tensor:
    """Return the logits [B, C] of the mean over heads of their distributions, from the heads' logits [B, heads, C].

    They are the logs of its probabilities. Logits [B, C], of a network of one head, are returned as they are.
    """
    if said.ndim == 2:
        return said
    return said.float().log_softmax(dim=2).logsumexp(dim=1) - math.log(said.shape[1])
