"""Which network, and how wide. Another built-in network is a file with its builder and its line in `NETWORKS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pydantic import Field, field_validator, model_validator
from torch import nn

from knowledge_transfer.learning.config import Config, did_you_mean
from knowledge_transfer.learning.models import networks
from knowledge_transfer.learning.models.cnn import Layers, cnn


class Builtin(NamedTuple):
    """A builder, called as `build(classes, **options)`, and the options that it takes.

    These are fields of `Architecture`, and `channels` and `image_size` of the images.
    """

    build: Callable[..., nn.Module]
    options: tuple[str, ...] = ("channels", "width")


NETWORKS = {
    "simple_cnn": Builtin(networks.simple_cnn),
    "resnet8": Builtin(networks.resnet8),
    "resnet50": Builtin(networks.resnet50),
    "squeezenet": Builtin(networks.squeezenet),
    "vgg19": Builtin(networks.vgg19),
    "alexnet": Builtin(networks.alexnet),
    "cnn": Builtin(cnn, ("channels", "image_size", "layers")),
    "imagenet_resnet50": Builtin(networks.imagenet_resnet50, ("width", "enlarge_to")),
}


class Architecture(Config):
    """Which network, and the factor on its channel counts (1: as published); the layers of a `cnn`.

    `enlarge_to` is the side in pixels to which an `imagenet_resnet50` scales its images (none: 224, as published).
    `heads` are last layers on one body: each may learn from a teacher of its own. The network predicts the mean of
    their distributions.
    """

    kind: str
    width: float = Field(default=1.0, gt=0, le=8)
    layers: Layers | None = None
    enlarge_to: int | None = Field(default=None, ge=32)
    heads: int = Field(default=1, ge=1)

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        if kind not in NETWORKS:
            raise ValueError(f"unknown network '{kind}'{did_you_mean(kind, NETWORKS)}")
        return kind

    @model_validator(mode="after")
    def _options_are_of_the_kind(self) -> Architecture:
        options = NETWORKS[self.kind].options
        if ("layers" in options) != (self.layers is not None):
            raise ValueError("kind 'cnn' needs layers, and no other has them: layers: {convolutions: [[8], [8]]}")
        if "width" not in options and self.width != 1:
            raise ValueError(f"a '{self.kind}' has the channels of its layers: leave width out")
        if "enlarge_to" not in options and self.enlarge_to is not None:
            raise ValueError(f"a '{self.kind}' takes images as they are: leave enlarge_to out")
        return self

    def body(self, *, classes: int, channels: int, image_size: int) -> nn.Module:
        """Return the network without normalisation, with torch's own initial weights and `classes` outputs a head."""
        build, options = NETWORKS[self.kind]
        given = {"channels": channels, "image_size": image_size, **dict(self)}
        return build(classes * self.heads, **{option: given[option] for option in options})

    def __str__(self) -> str:
        heads = "" if self.heads == 1 else f", {self.heads} heads"
        if self.layers is not None:
            return f"{self.kind} ({self.layers}){heads}"
        if "enlarge_to" in NETWORKS[self.kind].options:
            return f"{self.kind} at {self.enlarge_to or networks.IMAGENET_SIZE} pixels (width {self.width:g}){heads}"
        return f"{self.kind}{'' if self.width == 1 else f' (width {self.width:g})'}{heads}"
