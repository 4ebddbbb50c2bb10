"""SqueezeNet 1.1 (Iandola 2016) for small images: stride 1 in the stem, one pooling less, batch normalisation."""

from __future__ import annotations

from torch import nn
from torchvision.models.squeezenet import Fire

from knowledge_transfer.learning.models.width import scaled


def squeezenet(classes: int, channels: int, width: float) -> nn.Module:
    """Return the network, 0.7 million parameters at width 1 and ten classes."""
    stem = scaled(64, width)
    layers: list[nn.Module] = [_conv(channels, stem, 3), nn.ReLU(True), nn.MaxPool2d(2)]
    before = stem
    for squeeze, expand, pool in (
        (16, 64, False),
        (16, 64, True),
        (32, 128, False),
        (32, 128, True),
        (48, 192, False),
        (48, 192, False),
        (64, 256, False),
        (64, 256, False),
    ):
        half = scaled(expand, width)
        layers.append(_fire(before, scaled(squeeze, width), half))
        before = 2 * half
        if pool:
            layers.append(nn.MaxPool2d(2))
    # The original classifies every position and averages, after a ReLU that leaves an unlikely class no gradient.
    # Without the ReLU both are linear: averaging first gives the same logits for a fraction of the work.
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(before, classes))


def _fire(before: int, squeeze: int, expand: int) -> Fire:
    """Return torchvision's fire module with normalised convolutions, without which it does not learn at these rates."""
    fire = Fire(before, squeeze, expand, expand)
    fire.squeeze = _conv(before, squeeze, 1)
    fire.expand1x1 = _conv(squeeze, expand, 1)
    fire.expand3x3 = _conv(squeeze, expand, 3)
    return fire


def _conv(before: int, after: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(after))
