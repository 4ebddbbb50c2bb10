"""VGG19 with batch normalisation (Simonyan 2015) for small images: one linear layer instead of three."""

from __future__ import annotations

from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from knowledge_transfer.learning.models.width import scaled


def vgg19(classes: int, channels: int, width: float) -> nn.Module:
    """Return the network, 20 million parameters at width 1."""
    sizes = [size if size == "M" else scaled(int(size), width) for size in cfgs["E"]]
    features = make_layers(sizes, batch_norm=True)
    features[0] = nn.Conv2d(channels, int(sizes[0]), 3, padding=1)
    last = int([size for size in sizes if size != "M"][-1])
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(last, classes))


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
