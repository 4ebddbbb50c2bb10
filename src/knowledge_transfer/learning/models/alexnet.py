"""AlexNet (Krizhevsky 2012) for small images: 3x3 kernels and a stem of stride 2 in place of 11x11 and stride 4."""

from __future__ import annotations

from torch import nn

from knowledge_transfer.learning.models.width import scaled

_GRID = 2


def alexnet(classes: int, channels: int, width: float) -> nn.Module:
    """Return five convolutions and three linear layers (23 million parameters at width 1 and ten classes)."""
    first, second, third, last = (scaled(size, width) for size in (64, 192, 384, 256))
    hidden = scaled(4096, width)
    return nn.Sequential(
        nn.Conv2d(channels, first, 3, stride=2, padding=1),
        nn.ReLU(True),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(True),
        nn.MaxPool2d(2),
        nn.Conv2d(second, third, 3, padding=1),
        nn.ReLU(True),
        nn.Conv2d(third, last, 3, padding=1),
        nn.ReLU(True),
        nn.Conv2d(last, last, 3, padding=1),
        nn.ReLU(True),
        nn.AdaptiveMaxPool2d(_GRID),  # images of any size end in the same grid
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(last * _GRID**2, hidden),
        nn.ReLU(True),
        nn.Dropout(0.5),
        nn.Linear(hidden, hidden),
        nn.ReLU(True),
        nn.Linear(hidden, classes),
    )
