import pytest
import torch
from torch import nn

from knowledge_transfer.learning.models.network import folded
from tests.learning.models.test_network import KINDS, make


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "alexnet"])  # which normalises nothing
def test_a_folded_network_predicts_as_before(kind):
    torch.manual_seed(0)
    network = make(kind, width=0.25)
    pixels = torch.randint(0, 256, (32, 3, 32, 32), dtype=torch.uint8)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    with torch.no_grad():
        network(pixels)  # training mode: gives the running statistics something to be
        light = folded(network)
        torch.testing.assert_close(light(pixels), network.eval()(pixels), rtol=1e-3, atol=1e-3)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in light.modules())
    assert left == (3 if kind == "simple_cnn" else 0)  # which pools in between
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
