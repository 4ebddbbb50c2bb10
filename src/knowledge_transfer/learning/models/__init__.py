"""The networks, for images of 32 x 32 pixels or so: `build(Architecture(kind="vgg19", width=0.5), classes=10, …)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from knowledge_transfer.learning.knobs import Knobs
from knowledge_transfer.learning.models.alexnet import alexnet
from knowledge_transfer.learning.models.cnn import cnn
from knowledge_transfer.learning.models.heads import answer_of
from knowledge_transfer.learning.models.imagenet_resnet import SIZE, imagenet_resnet50
from knowledge_transfer.learning.models.resnet import resnet8, resnet50
from knowledge_transfer.learning.models.simple_cnn import simple_cnn
from knowledge_transfer.learning.models.squeezenet import squeezenet
from knowledge_transfer.learning.models.vgg import vgg19

Kind = Literal["simple_cnn", "resnet8", "resnet50", "squeezenet", "vgg19", "alexnet", "cnn", "imagenet_resnet50"]
_BUILDERS: dict[Kind, Callable[[int, int, float], nn.Module]] = {
    "alexnet": alexnet,
    "simple_cnn": simple_cnn,
    "resnet8": resnet8,
    "resnet50": resnet50,
    "squeezenet": squeezenet,
    "vgg19": vgg19,
}
_MIN_SIZE = 32  # VGG19 halves the image five times


Channels = Annotated[int, Field(ge=1)]


class Layers(Knobs):
    """The layers of a `cnn`: see `cnn.cnn`."""

    convolutions: tuple[tuple[Channels, ...], ...] = Field(min_length=1)
    kernel: int = Field(default=3, ge=1)
    hidden: tuple[Channels, ...] = ()
    dropout: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = ()
    normalise: bool = True
    softmax: bool = False

    @field_validator("convolutions")
    @classmethod
    def _no_block_is_empty(cls, blocks: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        if not all(blocks):
            raise ValueError("every block needs a convolution: [[8], [8]] are two blocks of one each")
        return blocks

    @model_validator(mode="after")
    def _dropouts_have_places(self) -> Layers:
        if len(self.dropout) > (places := len(self.convolutions) + len(self.hidden)):
            raise ValueError(f"{len(self.dropout)} dropouts, {places} blocks and hidden layers: leave some out")
        return self

    def __str__(self) -> str:
        blocks = ", ".join("+".join(map(str, block)) for block in self.convolutions)
        linear = f", linear {', '.join(map(str, self.hidden))}" if self.hidden else ""
        return f"conv {blocks} of {self.kernel}x{self.kernel}{linear}"


class Architecture(Knobs):
    """Which network, and the factor on its channel counts (1: as published); the layers of a `cnn`.

    `enlarge_to` is the side in pixels to which an `imagenet_resnet50` scales its images (none: 224, as published).
    Of several `heads`, last layers on one body, each may learn from a teacher of its own; the answer is the mean of
    their distributions.
    """

    kind: Kind
    width: float = Field(default=1.0, gt=0, le=8)
    layers: Layers | None = None
    enlarge_to: int | None = Field(default=None, ge=32)
    heads: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _layers_are_of_a_cnn(self) -> Architecture:
        if (self.kind == "cnn") != (self.layers is not None):
            raise ValueError("kind 'cnn' needs layers, and no other has them: layers: {convolutions: [[8], [8]]}")
        if self.kind == "cnn" and self.width != 1:
            raise ValueError("a 'cnn' has the channels that its layers say: leave width out")
        return self

    @model_validator(mode="after")
    def _only_one_kind_enlarges(self) -> Architecture:
        if self.enlarge_to is not None and self.kind != "imagenet_resnet50":
            raise ValueError(f"a '{self.kind}' takes images as they are: leave enlarge_to out")
        return self

    def __str__(self) -> str:
        heads = "" if self.heads == 1 else f", {self.heads} heads"
        if self.layers is not None:
            return f"{self.kind} ({self.layers}){heads}"
        if self.kind == "imagenet_resnet50":
            return f"{self.kind} at {self.enlarge_to or SIZE} pixels (width {self.width:g}){heads}"
        return f"{self.kind}{'' if self.width == 1 else f' (width {self.width:g})'}{heads}"


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
        return said if self.training else answer_of(said)


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
