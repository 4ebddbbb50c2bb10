import math

import pytest
import torch
from torch import nn

from knowledge_transfer.learning.evaluation.predict import dead_relu_fraction
from tests.conftest import stripes

CPU = torch.device("cpu")


def network(*biases):
    """A layer of three units that see the mean of the image for each row of biases, ReLUs behind."""
    layers = [nn.Flatten()]
    before = 32 * 32
    for row in biases:
        linear = nn.Linear(before, len(row))
        nn.init.constant_(linear.weight, 1 / before)
        linear.bias.data = torch.tensor(row)
        layers += [linear, nn.ReLU(True)]
        before = len(row)

    class Floats(nn.Sequential):
        def forward(self, pixels):
            return super().forward(pixels.float())

    return Floats(*layers)


def test_units_that_fire_for_no_image_are_dead():
    # Brightness lies between 0 and 240: the first unit fires always, the second for some images, the third never.
    assert dead_relu_fraction(network([1.0, -100.0, -1000.0]), stripes(6), device=CPU) == pytest.approx(1 / 3)


def test_the_layer_with_most_dead_units_counts():
    assert dead_relu_fraction(network([1.0, 1.0], [-1e4, -1e4]), stripes(6), device=CPU) == 1
    assert dead_relu_fraction(network([1.0, -1e4], [1.0, 1.0]), stripes(6), device=CPU) == 0.5


def test_a_relu_called_twice_is_two_layers():
    """As torchvision's blocks do: what is silent at its first call may fire at its second."""

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, pixels):
            mean = pixels.float().flatten(1).mean(1, keepdim=True)
            return self.relu(self.relu(-mean) + 1)

    assert dead_relu_fraction(Twice(), stripes(6), device=CPU) == 1


def test_a_network_without_relus_is_nan():
    assert math.isnan(dead_relu_fraction(nn.Flatten(), stripes(6), device=CPU))
