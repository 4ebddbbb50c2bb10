"""Published networks for small images, and ImageNet's ResNet50. `width` is the factor on all channel counts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.squeezenet import Fire
from torchvision.models.vgg import cfgs, make_layers

IMAGENET_SIZE = 224  # pixels of side, of the images that ImageNet's networks are trained and tested on
_COLOURS = 3
_RESNET50_DEPTHS, _RESNET50_SIZES = (3, 4, 6, 3), (64, 128, 256, 512)
_SIMPLE_GRID, _ALEXNET_GRID = 4, 2  # images of any size end in the same grid


def simple_cnn(classes: int, channels: int, width: float) -> nn.Module:
    """Return three convolutions and two linear layers (0.6 million parameters at width 1 and ten classes)."""
    first, second, third, hidden = scaled((32, 64, 128, 256), width)
    return nn.Sequential(
        _pooled(channels, first, nn.MaxPool2d(2)),
        _pooled(first, second, nn.MaxPool2d(2)),
        _pooled(second, third, nn.AdaptiveMaxPool2d(_SIMPLE_GRID)),
        nn.Flatten(),
        nn.Linear(third * _SIMPLE_GRID**2, hidden),
        nn.ReLU(True),
        nn.Linear(hidden, classes),
    )


def vgg19(classes: int, channels: int, width: float) -> nn.Module:
    """Return VGG19 with batch normalisation and one linear layer (Simonyan 2015; 20 million parameters at width 1)."""
    sizes = [size if size == "M" else scaled((int(size),), width)[0] for size in cfgs["E"]]
    features = make_layers(sizes, batch_norm=True)
    features[0] = nn.Conv2d(channels, int(sizes[0]), 3, padding=1)
    last = int([size for size in sizes if size != "M"][-1])
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(last, classes))


def alexnet(classes: int, channels: int, width: float) -> nn.Module:
    """Return five convolutions and three linear layers (23 million parameters at width 1 and ten classes)."""
    first, second, third, last, hidden = scaled((64, 192, 384, 256, 4096), width)
    return nn.Sequential(
        *(nn.Conv2d(channels, first, 3, stride=2, padding=1), nn.ReLU(True), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2)),
        *(nn.Conv2d(second, third, 3, padding=1), nn.ReLU(True)),
        *(nn.Conv2d(third, last, 3, padding=1), nn.ReLU(True)),
        *(nn.Conv2d(last, last, 3, padding=1), nn.ReLU(True), nn.AdaptiveMaxPool2d(_ALEXNET_GRID), nn.Flatten()),
        *(nn.Dropout(0.5), nn.Linear(last * _ALEXNET_GRID**2, hidden), nn.ReLU(True)),
        *(nn.Dropout(0.5), nn.Linear(hidden, hidden), nn.ReLU(True)),
        nn.Linear(hidden, classes),
    )


def squeezenet(classes: int, channels: int, width: float) -> nn.Module:
    """Return SqueezeNet 1.1 with batch normalisation and a pooling less (Iandola 2016; 0.7 million parameters)."""
    (before,) = scaled((64,), width)
    layers: list[nn.Module] = [_convolution(channels, before, 3), nn.ReLU(True), nn.MaxPool2d(2)]
    for number, sizes in enumerate([(16, 64), (16, 64), (32, 128), (32, 128), *[(48, 192)] * 2, *[(64, 256)] * 2]):
        squeeze, expand = scaled(sizes, width)
        # Without normalised convolutions torchvision's module does not learn at these rates.
        fire = Fire(before, squeeze, expand, expand)
        fire.squeeze = _convolution(before, squeeze, 1)
        fire.expand1x1 = _convolution(squeeze, expand, 1)
        fire.expand3x3 = _convolution(squeeze, expand, 3)
        layers += [fire, nn.MaxPool2d(2)] if number in (1, 3) else [fire]
        before = 2 * expand
    # The original classifies every position and averages, after a ReLU that leaves an unlikely class no gradient.
    # Without the ReLU both are linear: averaging first gives the same logits for a fraction of the work.
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(before, classes))


def resnet8(classes: int, channels: int, width: float) -> nn.Module:
    """Return three stages of one basic block (He 2016; 0.08 million parameters at width 1)."""
    return _resnet(BasicBlock, (1, 1, 1), scaled((16, 32, 64), width), classes, channels)


def resnet50(classes: int, channels: int, width: float) -> nn.Module:
    """Return four stages of 3, 4, 6, 3 bottlenecks (23.5 million parameters at width 1)."""
    return _resnet(Bottleneck, _RESNET50_DEPTHS, scaled(_RESNET50_SIZES, width), classes, channels)


def imagenet_resnet50(classes: int, *, width: float, enlarge_to: int | None) -> nn.Module:
    """Return a ResNet50 that scales images of any size to `enlarge_to` pixels of side (none: 224).

    At width 1 its weights have the names and shapes of `torchvision.models.resnet50`, so it can start from those.
    """
    sizes = scaled(_RESNET50_SIZES, width)
    stages = _stages(Bottleneck, _RESNET50_DEPTHS, sizes)
    layers: dict[str, nn.Module] = {
        "enlarge": Enlarge(enlarge_to or IMAGENET_SIZE),
        "conv1": nn.Conv2d(_COLOURS, sizes[0], 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(sizes[0]),
        "relu": nn.ReLU(True),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
        **{f"layer{number}": nn.Sequential(*blocks) for number, blocks in enumerate(stages, start=1)},
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(sizes[-1] * Bottleneck.expansion, classes),
    }
    return nn.Sequential(OrderedDict(layers))


class Enlarge(nn.Module):
    """Scales images to squares of `size` pixels, bilinear, and repeats grey ones as three colours."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, pixels: Tensor) -> Tensor:
        """Return [B, 3, size, size] of [B, 1 or 3, H, W]."""
        enlarged = F.interpolate(pixels, size=(self.size, self.size), mode="bilinear", antialias=False)
        return enlarged.expand(-1, _COLOURS, -1, -1)


def _resnet(
    block: type[BasicBlock | Bottleneck], depths: Sequence[int], sizes: Sequence[int], classes: int, channels: int
) -> nn.Module:
    """Return a residual network with the stem for small images: one 3x3 convolution, no pooling."""
    stem = [nn.Conv2d(channels, sizes[0], 3, padding=1, bias=False), nn.BatchNorm2d(sizes[0]), nn.ReLU(True)]
    blocks = [each for stage in _stages(block, depths, sizes) for each in stage]
    head = nn.Linear(sizes[-1] * block.expansion, classes)
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def _stages(block: type[BasicBlock | Bottleneck], depths: Sequence[int], sizes: Sequence[int]) -> list[list[nn.Module]]:
    """Return the blocks of each stage, behind a stem of `sizes[0]` channels; all but the first halve the image."""
    stages: list[list[nn.Module]] = []
    before = sizes[0]
    for stage, (depth, size) in enumerate(zip(depths, sizes, strict=True)):
        blocks: list[nn.Module] = []
        for position in range(depth):
            stride = 2 if stage > 0 and position == 0 else 1
            after = size * block.expansion
            blocks.append(block(before, size, stride, _shortcut(before, after, stride)))
            before = after
        stages.append(blocks)
    return stages


def _shortcut(before: int, after: int, stride: int) -> nn.Module | None:
    if stride == 1 and before == after:
        return None
    return nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))


def _pooled(before: int, after: int, pool: nn.Module) -> nn.Module:
    # Pooling first leaves normalisation and ReLU a quarter of the work; max and ReLU commute.
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), pool, nn.BatchNorm2d(after), nn.ReLU(True))


def _convolution(before: int, after: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(after))


def scaled(sizes: Sequence[int], width: float) -> list[int]:
    """Return the channel counts at `width`, multiples of 8 and at least 8: vector units like whole lanes."""
    return [max(8, int(size * width / 8 + 0.5) * 8) for size in sizes]
