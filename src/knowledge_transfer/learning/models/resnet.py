"""Residual networks (He 2016) with the stem for small images: one 3x3 convolution, no pooling."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from knowledge_transfer.learning.models.width import scaled


def resnet8(classes: int, channels: int, width: float) -> nn.Module:
    """Return three stages of one basic block, 16-32-64 channels (0.08 million parameters at width 1)."""
    return _resnet(BasicBlock, (1, 1, 1), [scaled(size, width) for size in (16, 32, 64)], classes, channels)


def resnet50(classes: int, channels: int, width: float) -> nn.Module:
    """Return four stages of 3, 4, 6, 3 bottlenecks (23.5 million parameters at width 1)."""
    return _resnet(Bottleneck, (3, 4, 6, 3), [scaled(size, width) for size in (64, 128, 256, 512)], classes, channels)


def _resnet(
    block: type[BasicBlock | Bottleneck], depths: Sequence[int], sizes: Sequence[int], classes: int, channels: int
) -> nn.Module:
    stem = [nn.Conv2d(channels, sizes[0], 3, padding=1, bias=False), nn.BatchNorm2d(sizes[0]), nn.ReLU(True)]
    blocks = [each for stage in _stages(block, depths, sizes) for each in stage]
    return nn.Sequential(
        *stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(sizes[-1] * block.expansion, classes)
    )


def _stages(block: type[BasicBlock | Bottleneck], depths: Sequence[int], sizes: Sequence[int]) -> list[list[nn.Module]]:
    """Return the blocks of each stage, `depths` of them with `sizes` channels, behind a stem of `sizes[0]` channels.

    Every stage but the first halves the image.
    """
    found: list[list[nn.Module]] = []
    before = sizes[0]
    for stage, (depth, size) in enumerate(zip(depths, sizes, strict=True)):
        blocks: list[nn.Module] = []
        for position in range(depth):
            stride = 2 if stage > 0 and position == 0 else 1
            after = size * block.expansion
            blocks.append(block(before, size, stride, _shortcut(before, after, stride)))
            before = after
        found.append(blocks)
    return found


def _shortcut(before: int, after: int, stride: int) -> nn.Module | None:
    if stride == 1 and before == after:
        return None
    return nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))


IMAGENET_SIZE = 224  # pixels of side, of the images that ImageNet's networks are trained and tested on
_COLOURS = 3


class Enlarge(nn.Module):
    """Scales images to squares of `size` pixels, bilinear, and repeats grey ones as three colours."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, pixels: Tensor) -> Tensor:
        """Return [B, 3, size, size] of [B, 1 or 3, H, W]."""
        scaled_up = F.interpolate(pixels, size=(self.size, self.size), mode="bilinear", antialias=False)
        return scaled_up.expand(-1, _COLOURS, -1, -1)


def imagenet_resnet50(classes: int, *, width: float, enlarge_to: int | None) -> nn.Module:
    """Return the network that scales images of any size to `enlarge_to` pixels of side (none: 224).

    It has 23.5 million parameters. At width 1 its weights have the names and shapes of `torchvision.models.resnet50`,
    so that it can start from those.
    """
    sizes = [scaled(channels, width) for channels in (64, 128, 256, 512)]
    stem = [
        ("conv1", nn.Conv2d(_COLOURS, sizes[0], 7, stride=2, padding=3, bias=False)),
        ("bn1", nn.BatchNorm2d(sizes[0])),
        ("relu", nn.ReLU(True)),
        ("maxpool", nn.MaxPool2d(3, stride=2, padding=1)),
    ]
    layers = [
        (f"layer{number}", nn.Sequential(*blocks))
        for number, blocks in enumerate(_stages(Bottleneck, (3, 4, 6, 3), sizes), start=1)
    ]
    head = [
        ("avgpool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("fc", nn.Linear(sizes[-1] * Bottleneck.expansion, classes)),
    ]
    return nn.Sequential(OrderedDict([("enlarge", Enlarge(enlarge_to or IMAGENET_SIZE)), *stem, *layers, *head]))
