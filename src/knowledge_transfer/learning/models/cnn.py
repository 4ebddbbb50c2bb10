"""Plain convolutional networks of any depth and width: the teachers and the tiny students of the studies."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator
from torch import nn

from knowledge_transfer.learning.config import Config

_Size = Annotated[int, Field(ge=1)]


class Layers(Config):
    """The layers of a `cnn`.

    `convolutions` are the channels of each convolution, block by block; `hidden` the sizes of the linear layers before
    the last. `dropout` are the probabilities after each block and each hidden layer, in order; missing ones are 0.
    With `softmax` the network returns probabilities, which every loss here takes for logits: a common fault, whose
    effect a study shows.
    """

    convolutions: tuple[tuple[_Size, ...], ...] = Field(min_length=1)
    kernel: int = Field(default=3, ge=1)
    hidden: tuple[_Size, ...] = ()
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
    def _no_dropout_too_many(self) -> Layers:
        if len(self.dropout) > (most := len(self.convolutions) + len(self.hidden)):
            raise ValueError(f"{len(self.dropout)} dropouts, {most} blocks and hidden layers: leave some out")
        return self

    def __str__(self) -> str:
        blocks = ", ".join("+".join(map(str, block)) for block in self.convolutions)
        linear = f", linear {', '.join(map(str, self.hidden))}" if self.hidden else ""
        return f"conv {blocks} of {self.kernel}x{self.kernel}{linear}"


def cnn(classes: int, *, channels: int, image_size: int, layers: Layers) -> nn.Module:
    """Return blocks of convolutions, each block ended by a pooling that halves the image, then linear layers.

    Raises ValueError for more blocks than the image can be halved.
    """
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
