"""Functions that return networks, as a user would write them: some sound, most with one fault each."""

import torch
from torch import nn


def sound(classes: int, channels: int, hidden: int = 8) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(channels, hidden, 3, stride=2), nn.BatchNorm2d(hidden), nn.ReLU(), nn.AdaptiveAvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(4 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)),
    )


def with_dropout(classes: int, channels: int) -> nn.Module:
    return nn.Sequential(nn.Dropout(0.3), sound(classes, channels))


class Pair:
    """Functions may also be methods, as libraries have them."""

    @classmethod
    def colours(cls, num_classes: int) -> nn.Module:
        return sound(num_classes, 3)


class NormaliseFirst(nn.Module):
    """The normalisation is registered after the convolution and applied before it: folding would be wrong."""

    def __init__(self, classes: int, channels: int, width: int = 3) -> None:
        super().__init__()
        self.convolution, self.normalisation = nn.Conv2d(channels, width, 3), nn.BatchNorm2d(channels)
        self.last = nn.Linear(width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.convolution(self.normalisation(images)).amax((2, 3)))


class _Answers(nn.Module):
    def __init__(self, answer) -> None:
        super().__init__()
        self.answer, self.layer = answer, nn.Linear(4, 4)

    def forward(self, images: torch.Tensor) -> object:
        return self.answer(self.layer, images)


def in_a_pair(classes: int) -> nn.Module:
    return _Answers(lambda layer, images: (images.mean((2, 3)), images))


class WithView(nn.Module):
    """`view` where images are laid out by channels, as in many an introduction."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.convolution, self.last = nn.Conv2d(channels, 4, 3), nn.Linear(4 * 30 * 30, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.convolution(images)
        return self.last(features.view(len(features), -1))


def too_few(classes: int) -> nn.Module:
    return _Answers(lambda layer, images: layer.weight.sum() * images.mean((2, 3))[:, :1])


def not_finite(classes: int) -> nn.Module:
    return _Answers(lambda layer, images: layer.weight.sum() * torch.full((len(images), classes), torch.nan))


def without_gradient(classes: int) -> nn.Module:
    return _Answers(lambda layer, images: torch.zeros(len(images), classes, requires_grad=True) * 0)


def without_parameters(classes: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def three_channels(classes: int, channels: int) -> nn.Module:
    return sound(classes, 3)


def raises(classes: int) -> nn.Module:
    raise RuntimeError("no\nluck")


def no_network(classes: int) -> str:
    return "a network"


def no_classes() -> nn.Module:
    return sound(10, 3)


CONSTANT = 3
