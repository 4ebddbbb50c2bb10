"""ResNet50 (He 2016) as ImageNet has it: a stem of stride 4, larger images, and torchvision's names for its weights."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from knowledge_transfer.learning.models.resnet import stages
from knowledge_transfer.learning.models.width import scaled

SIZE = 224  # pixels, of the images that ImageNet's networks are trained and tested on
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


def imagenet_resnet50(classes: int, width: float, size: int) -> nn.Module:
    """Return the network for images of any size, which it scales to `size` pixels itself (23.5 million parameters).

    At width 1 its weights have the names and shapes of `torchvision.models.resnet50`, so that it can start from those.
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
        for number, blocks in enumerate(stages(Bottleneck, (3, 4, 6, 3), sizes), start=1)
    ]
    head = [
        ("avgpool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("fc", nn.Linear(sizes[-1] * Bottleneck.expansion, classes)),
    ]
    return nn.Sequential(OrderedDict([("enlarge", Enlarge(size)), *stem, *layers, *head]))
