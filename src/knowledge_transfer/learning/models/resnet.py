"""Residual networks (He 2016) with the stem for small images: one 3x3 convolution, no pooling."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
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
    blocks = [each for stage in stages(block, depths, sizes) for each in stage]
    return nn.Sequential(
        *stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(sizes[-1] * block.expansion, classes)
    )


def stages(block: type[BasicBlock | Bottleneck], depths: Sequence[int], sizes: Sequence[int]) -> list[list[nn.Module]]:
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
