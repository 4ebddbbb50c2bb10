"""Plain convolutional networks of any depth and width: the teachers and the tiny students of the studies."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from knowledge_transfer.learning.models.width import scaled


def cnn(
    classes: int,
    channels: int,
    image_size: int,
    *,
    convolutions: Sequence[Sequence[int]],
    kernel: int,
    hidden: Sequence[int],
    dropout: Sequence[float],
    normalise: bool,
    softmax: bool,
) -> nn.Module:
    """Return blocks of convolutions, each block ended by a pooling that halves the image, then linear layers.

    `convolutions` are the channels of each convolution, block by block; `hidden` the sizes of the linear layers before
    the last. `dropout` are the probabilities after each block and each hidden layer, in order; those left out are 0.
    With `softmax` its answers are probabilities, which every loss here will take for logits: a common fault, of which a
    study shows what it does.
    Raises ValueError for more blocks than the image can be halved, and more dropouts than places for them.
    """
    size = image_size // 2 ** len(convolutions)
    if size < 1:
        raise ValueError(f"{len(convolutions)} blocks halve images of {image_size} pixels away: leave some out")
    if len(dropout) > len(convolutions) + len(hidden):
        raise ValueError(
            f"{len(dropout)} dropouts for {len(convolutions)} blocks and {len(hidden)} hidden layers: leave some out"
        )
    drops = iter((*dropout, *[0.0] * (len(convolutions) + len(hidden) - len(dropout))))
    layers: list[nn.Module] = []
    before = channels
    for block in convolutions:
        for position, after in enumerate(block):
            if kernel % 2 == 0:  # whose centre is between pixels: one more row and column behind than ahead
                layers.append(nn.ZeroPad2d((0, 1, 0, 1)))
            padding = (kernel - 1) // 2
            layers.append(nn.Conv2d(before, after, kernel, padding=padding, bias=not normalise))
            # Pooling first leaves normalisation and ReLU a quarter of the work; max and ReLU commute.
            if position == len(block) - 1:
                layers.append(nn.MaxPool2d(2))
            layers += [nn.BatchNorm2d(after), nn.ReLU(True)] if normalise else [nn.ReLU(True)]
            before = after
        layers += _dropout(next(drops))
    layers.append(nn.Flatten())
    before *= size**2
    for after in hidden:
        layers += [nn.Linear(before, after), nn.ReLU(True), *_dropout(next(drops))]
        before = after
    layers.append(nn.Linear(before, classes))
    return nn.Sequential(*layers, nn.Softmax(dim=1)) if softmax else nn.Sequential(*layers)


def _dropout(probability: float) -> list[nn.Module]:
    return [nn.Dropout(probability)] if probability else []


_GRID = 4


def simple_cnn(classes: int, channels: int, width: float) -> nn.Module:
    """Return the network, about 0.6 million parameters at width 1 and ten classes."""
    first, second, third, hidden = (scaled(size, width) for size in (32, 64, 128, 256))
    return nn.Sequential(
        _block(channels, first, nn.MaxPool2d(2)),
        _block(first, second, nn.MaxPool2d(2)),
        _block(second, third, nn.AdaptiveMaxPool2d(_GRID)),  # images of any size end in the same grid
        nn.Flatten(),
        nn.Linear(third * _GRID**2, hidden),
        nn.ReLU(True),
        nn.Linear(hidden, classes),
    )


def _block(before: int, after: int, pool: nn.Module) -> nn.Module:
    # Pooling first leaves normalisation and ReLU a quarter of the work; max and ReLU commute.
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), pool, nn.BatchNorm2d(after), nn.ReLU(True))
