"""Published networks for small images, and ImageNet's ResNet50. `width` is the factor on all channel counts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from knowledge_transfer.learning.models.blocks import Fire, Residual, convolution, normalised

IMAGENET_SIZE = 224  # pixels of side, of the images that ImageNet's networks are trained and tested on
_COLOURS = 3
_VGG19_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels and convolutions
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
    features: list[nn.Module] = []
    before = channels
    for size, depth in _VGG19_BLOCKS:
        (after,) = scaled((size,), width)
        for source in (before, *[after] * (depth - 1)):
            features += [nn.Conv2d(source, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(True)]
        features.append(nn.MaxPool2d(2))
        before = after
    pooled = (nn.Sequential(*features), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*pooled, nn.Dropout(0.5), nn.Linear(before, classes))


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
    layers: list[nn.Module] = [normalised(channels, before, 3), nn.ReLU(True), nn.MaxPool2d(2)]
    for number, sizes in enumerate([(16, 64), (16, 64), (32, 128), (32, 128), *[(48, 192)] * 2, *[(64, 256)] * 2]):
        squeeze, expand = scaled(sizes, width)
        layers += [Fire(before, squeeze, expand), *([nn.MaxPool2d(2)] if number in (1, 3) else [])]
        before = 2 * expand
    # The original classifies every position and averages, after a ReLU that leaves an unlikely class no gradient.
    # Without the ReLU both are linear: averaging first gives the same logits for a fraction of the work.
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(before, classes))


def resnet8(classes: int, channels: int, width: float) -> nn.Module:
    """Return three stages of one basic block (He 2016; 0.08 million parameters at width 1)."""
    sizes = scaled((16, 32, 64), width)
    stages = _stages(sizes[0], (1, 1, 1), [(size, size) for size in sizes], (3, 3))
    return _resnet(stages, sizes[0], sizes[-1], classes, channels)


def resnet50(classes: int, channels: int, width: float) -> nn.Module:
    """Return four stages of 3, 4, 6, 3 bottlenecks (23.5 million parameters at width 1)."""
    stages, before, after = _bottlenecks(width)
    return _resnet(stages, before, after, classes, channels)


def imagenet_resnet50(classes: int, *, width: float) -> nn.Module:
    """Return a ResNet50 for large images of three colours.

    At width 1 its weights have the names and shapes of `torchvision.models.resnet50`, so it can start from those.
    """
    stages, before, after = _bottlenecks(width)
    layers: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(_COLOURS, before, 7, stride=2, padding=3, bias=False),
        "bn1": nn.BatchNorm2d(before),
        "relu": nn.ReLU(True),
        "maxpool": nn.MaxPool2d(3, stride=2, padding=1),
        **{f"layer{number}": nn.Sequential(*blocks) for number, blocks in enumerate(stages, start=1)},
        "avgpool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(after, classes),
    }
    return nn.Sequential(OrderedDict(layers))


def _bottlenecks(width: float) -> tuple[list[list[Residual]], int, int]:
    """Return the stages of a ResNet50, and the numbers of channels before and after them."""
    sizes = scaled((64, 128, 256, 512), width)
    stages = _stages(sizes[0], (3, 4, 6, 3), [(size, size, 4 * size) for size in sizes], (1, 3, 1))
    return stages, sizes[0], 4 * sizes[-1]


def _resnet(stages: list[list[Residual]], before: int, after: int, classes: int, channels: int) -> nn.Module:
    """Return a residual network with the stem for small images: one 3x3 convolution, no pooling."""
    blocks = [block for stage in stages for block in stage]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(after, classes))
    return nn.Sequential(*normalised(channels, before, 3), nn.ReLU(True), *blocks, *head)


def _stages(
    before: int, depths: Sequence[int], sizes: Sequence[tuple[int, ...]], kernels: tuple[int, ...]
) -> list[list[Residual]]:
    """Return the blocks of each stage; all stages but the first halve the image."""
    stages: list[list[Residual]] = []
    for stage, (depth, channels) in enumerate(zip(depths, sizes, strict=True)):
        blocks = []
        for position in range(depth):
            blocks.append(Residual(before, channels, kernels, stride=2 if stage > 0 and position == 0 else 1))
            before = channels[-1]
        stages.append(blocks)
    return stages


def _pooled(before: int, after: int, pool: nn.Module) -> nn.Module:
    # Pooling first leaves normalisation and ReLU a quarter of the work; max and ReLU commute.
    return nn.Sequential(convolution(before, after, 3), pool, nn.BatchNorm2d(after), nn.ReLU(True))


def scaled(sizes: Sequence[int], width: float) -> list[int]:
    """Return the channel counts at `width`, multiples of 8 and at least 8: vector units like whole lanes."""
    return [max(8, int(size * width / 8 + 0.5) * 8) for size in sizes]
