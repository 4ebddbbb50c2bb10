"""Which network, and how wide."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.models.resnet import SIZE

Kind = Literal["simple_cnn", "resnet8", "resnet50", "squeezenet", "vgg19", "alexnet", "cnn", "imagenet_resnet50"]


Channels = Annotated[int, Field(ge=1)]


class Layers(Config):
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


class Architecture(Config):
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
