"""Blocks of the published networks. torchvision has the same: importing it takes a second of every process."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def convolution(before: int, after: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps the image's size but for its stride; normalisation makes a bias useless."""
    return nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)


def normalised(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return a convolution and its batch normalisation."""
    return nn.Sequential(convolution(before, after, kernel, stride), nn.BatchNorm2d(after))


class Residual(nn.Module):
    """`relu(branch(x) + shortcut(x))` (He 2016); layers are named as torchvision's, to start from its weights.

    The branch has a normalised convolution for each of `kernels` and `sizes`; its first 3x3 has the `stride`. The
    shortcut is the identity, or a 1x1 convolution where the shape changes.
    """

    def __init__(self, before: int, sizes: tuple[int, ...], kernels: tuple[int, ...], stride: int) -> None:
        super().__init__()
        after, strided = sizes[-1], kernels.index(3)
        self.depth = len(kernels)
        for position, (source, size, kernel) in enumerate(zip((before, *sizes), sizes, kernels, strict=False)):
            step = stride if position == strided else 1
            self.add_module(f"conv{position + 1}", convolution(source, size, kernel, step))
            self.add_module(f"bn{position + 1}", nn.BatchNorm2d(size))
        self.relu = nn.ReLU(True)
        changes = stride != 1 or before != after
        self.downsample = normalised(before, after, 1, stride) if changes else None

    @property
    def last_normalisation(self) -> nn.BatchNorm2d:
        """The layer that scales the branch."""
        return getattr(self, f"bn{self.depth}")  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, sizes[-1], H / stride, W / stride] of [B, before, H, W]."""
        branch = x
        for number in range(1, self.depth + 1):
            branch = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(branch))
            branch = self.relu(branch) if number < self.depth else branch
        branch += x if self.downsample is None else self.downsample(x)
        output: Tensor = self.relu(branch)
        return output


class Fire(nn.Module):
    """SqueezeNet's block: a 1x1 convolution to few channels, then 1x1 and 3x3 side by side (Iandola 2016)."""

    def __init__(self, before: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = normalised(before, squeeze, 1)
        self.expand1x1 = normalised(squeeze, expand, 1)
        self.expand3x3 = normalised(squeeze, expand, 3)
        self.relu = nn.ReLU(True)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, 2 expand, H, W] of [B, before, H, W]."""
        squeezed = self.relu(self.squeeze(x))
        expanded: Tensor = self.relu(torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], 1))
        return expanded
