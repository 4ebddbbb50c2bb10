"""Which network: a built-in one, which is a builder and its line in `NETWORKS`, or one from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

from pydantic import Field, field_validator, model_validator
from torch import nn

from knowledge_transfer.learning.config import Config, did_you_mean
from knowledge_transfer.learning.models import external, networks

_Size = Annotated[int, Field(ge=1)]


class Layers(Config):
    """The layers of a `cnn`.

    `convolutions` are the channels of each convolution, block by block; `hidden` the sizes of the linear layers before
    the last. `dropout` are the probabilities after each block and each hidden layer, in order; missing ones are 0.
    With `softmax` the network returns probabilities, which every loss here takes for logits: a common fault.
    """

    convolutions: tuple[tuple[_Size, ...], ...] = Field(min_length=1)
    kernel: int = Field(default=3, ge=1)
    hidden: tuple[_Size, ...] = ()
    dropout: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = ()
    normalise: bool = True
    softmax: bool = False

    @model_validator(mode="after")
    def _blocks_and_dropouts_fit(self) -> Layers:
        if not all(self.convolutions):
            raise ValueError("every block needs a convolution: [[8], [8]] are two blocks of one each")
        if len(self.dropout) > (most := len(self.convolutions) + len(self.hidden)):
            raise ValueError(f"{len(self.dropout)} dropouts, {most} blocks and hidden layers: leave some out")
        return self

    def __str__(self) -> str:
        blocks = ", ".join("+".join(map(str, block)) for block in self.convolutions)
        linear = f", linear {', '.join(map(str, self.hidden))}" if self.hidden else ""
        return f"conv {blocks} of {self.kernel}x{self.kernel}{linear}"


def cnn(classes: int, *, channels: int, image_size: int, layers: Layers) -> nn.Module:
    """Return blocks of convolutions, each ended by a pooling that halves the image, then linear layers."""
    side = image_size // 2 ** len(layers.convolutions)
    if side < 1:
        blocks = len(layers.convolutions)
        raise ValueError(f"{blocks} blocks halve images of {image_size} pixels away: leave some out")
    drops = iter(layers.dropout)
    modules: list[nn.Module] = []
    before = channels
    for block in layers.convolutions:
        for position, after in enumerate(block):
            is_last = position == len(block) - 1
            modules += _convolution(before, after, layers, [nn.MaxPool2d(2)] if is_last else [])
            before = after
        modules += _dropout(next(drops, 0.0))
    modules.append(nn.Flatten())
    before *= side**2
    for after in layers.hidden:
        modules += [nn.Linear(before, after), nn.ReLU(True), *_dropout(next(drops, 0.0))]
        before = after
    modules.append(nn.Linear(before, classes))
    return nn.Sequential(*modules, *([nn.Softmax(dim=1)] if layers.softmax else []))


def _convolution(before: int, after: int, layers: Layers, pooling: list[nn.Module]) -> list[nn.Module]:
    """Return a convolution that keeps the image's size, its pooling and ReLU."""
    kernel, normalise = layers.kernel, layers.normalise
    # The centre of an even kernel is between pixels: one more row and column behind than ahead.
    padding: list[nn.Module] = [nn.ZeroPad2d((0, 1, 0, 1))] if kernel % 2 == 0 else []
    convolution = nn.Conv2d(before, after, kernel, padding=(kernel - 1) // 2, bias=not normalise)
    # Pooling first leaves normalisation and ReLU a quarter of the work; max and ReLU commute.
    return [*padding, convolution, *pooling, *([nn.BatchNorm2d(after)] if normalise else []), nn.ReLU(True)]


def _dropout(probability: float) -> list[nn.Module]:
    return [nn.Dropout(probability)] if probability else []


class Builtin(NamedTuple):
    """A builder, called as `build(classes, **options)`, and its options among those that `Architecture.body` gives.

    Without the option `channels` it takes three colours. `size` is the side in pixels to which it enlarges images.

    With `starts_as_identity` each convolution first passes on the channels that it receives: a deep network without
    shortcuts learns from the first steps (Jordan 2024, arXiv 2404.00498).
    """

    build: Callable[..., nn.Module]
    options: tuple[str, ...] = ("channels", "width")
    starts_as_identity: bool = False
    size: int | None = None


NETWORKS = {
    "simple_cnn": Builtin(networks.simple_cnn),
    "resnet8": Builtin(networks.resnet8),
    "resnet50": Builtin(networks.resnet50),
    "squeezenet": Builtin(networks.squeezenet),
    "vgg19": Builtin(networks.vgg19, starts_as_identity=True),
    "alexnet": Builtin(networks.alexnet),
    "cnn": Builtin(cnn, ("channels", "image_size", "layers")),
    "imagenet_resnet50": Builtin(networks.imagenet_resnet50, ("width",), size=networks.IMAGENET_SIZE),
}


class Architecture(Config):
    """Which network, and the factor on its channel counts (1: as published); the layers of a `cnn`.

    `kind` is a built-in network, `torchvision:NAME`, `timm:NAME`, or `package.module:function`. Such a function is
    given the number of classes, as `classes` or `num_classes`, and its `options`; also the images' `channels` or
    `in_channels`, if it has such a parameter and `options` do not say 3, else grey images are repeated as three
    colours. It returns a torch.nn.Module that takes normalised pixels, float32 [B, C, H, W], and returns logits
    [B, classes]. `enlarge_to` is the side in pixels to which images are scaled first (none: not at all; 224 for an
    `imagenet_resnet50`, as published).

    `heads` are last layers on one body, each of which may learn from another teacher. The network predicts the mean of
    their distributions.
    """

    kind: str
    width: float = Field(default=1.0, gt=0, le=8)
    layers: Layers | None = None
    options: dict[str, Any] = {}
    enlarge_to: int | None = Field(default=None, ge=8)
    heads: int = Field(default=1, ge=1)

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        if kind not in NETWORKS and not external.is_external(kind):
            raise ValueError(f"unknown network '{kind}'{did_you_mean(kind, NETWORKS)}")
        return kind

    @model_validator(mode="after")
    def _options_are_of_the_kind(self) -> Architecture:
        if self.is_external:
            if self.layers is not None or self.width != 1:
                raise ValueError(
                    f"'{self.kind}' has no layers and no width (set width: 1): its own arguments go into options"
                )
            return self
        if self.options:
            raise ValueError(f"a '{self.kind}' is built in and has no options: leave them out")
        options = NETWORKS[self.kind].options
        if ("layers" in options) != (self.layers is not None):
            raise ValueError("kind 'cnn' needs layers, and no other has them: layers: {convolutions: [[8], [8]]}")
        if "width" not in options and self.width != 1:
            raise ValueError(f"a '{self.kind}' has the channels of its layers: leave width out")
        return self

    @property
    def is_external(self) -> bool:
        """Whether the network is none of the built-in ones."""
        return external.is_external(self.kind)

    def require(self) -> None:
        """Raise ValueError, naming the remedy, for a network from elsewhere that is not there."""
        if self.is_external:
            external.require(self.kind, self.options)

    @property
    def takes_colours(self) -> bool:
        """Whether grey images are given to it as three colours."""
        if self.is_external:
            return not external.takes_channels(self.kind, self.options)
        return "channels" not in NETWORKS[self.kind].options

    @property
    def size(self) -> int | None:
        """The side in pixels to which it enlarges images (none: it takes them as they are)."""
        return self.enlarge_to or (None if self.is_external else NETWORKS[self.kind].size)

    def body(self, *, classes: int, channels: int, image_size: int) -> nn.Module:
        """Return the network without normalisation, with torch's own initial weights and `classes` outputs a head."""
        if self.is_external:
            return external.build(self.kind, classes=classes * self.heads, channels=channels, options=self.options)
        builtin = NETWORKS[self.kind]
        given = {"channels": channels, "image_size": self.size or image_size, **dict(self)}
        return builtin.build(classes * self.heads, **{option: given[option] for option in builtin.options})

    def __hash__(self) -> int:
        return hash((self.kind, self.width, self.layers, self.enlarge_to, self.heads))  # options cannot be hashed

    def __str__(self) -> str:
        size = f" at {self.size} pixels" if self.size else ""
        heads = "" if self.heads == 1 else f", {self.heads} heads"
        if self.layers is not None:
            return f"{self.kind}{size} ({self.layers}){heads}"
        options = ", ".join(f"{key} {value}" for key, value in self.options.items())
        width = "" if self.width == 1 else f"width {self.width:g}"
        return f"{self.kind}{size}{f' ({options or width})' if options or width else ''}{heads}"
