"""Many networks of one shape in one pass: their channels side by side, in one kernel.

On a CPU this is 2.4 to 2.9 times as fast as `torch.func.vmap` over the same networks, which sums in another order.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.hardware import autocast, prediction_batch_size
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import Network

_CPU_MEMBERS, _CPU_CHANNELS = 4, 4
_OF_NORMALISATION = ("mean", "deviation")


def can_stack(architecture: Architecture, images: ImageSet) -> bool:
    """Return whether such networks can be stacked for these images: an unscaled `cnn` with one head, no mix."""
    is_plain = architecture.kind == "cnn" and architecture.heads == 1 and architecture.size is None
    return is_plain and len(images.blocks) == 1


def is_faster(architecture: Architecture, images: ImageSet, members: int, device: torch.device) -> bool:
    """Return whether so many members train faster stacked than one after another.

    On a GPU all that can be stacked (not measured). On the CPU only narrow ones (`benchmarks/scaling/stacking.py`): 1.2
    to 1.6 times as fast for four to 24 members of two or four channels, 0.9 times for 24 of eight.
    """
    if members < 2 or not can_stack(architecture, images):
        return False
    layers = architecture.layers
    widest = max(width for block in layers.convolutions for width in block) if layers else 0
    return device.type != "cpu" or (members >= _CPU_MEMBERS and widest <= _CPU_CHANNELS)


class Stacked(nn.Module):
    """Networks of kind `cnn`, all of one shape, as one: convolutions in groups, linear layers as batched products.

    Every tensor of its state holds those of the networks, one after the other along the first dimension: an optimizer
    that works by element changes each network as if it were alone. Raises ValueError for another kind of network.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__()
        self.count = len(networks)
        first = networks[0]
        if not isinstance(first.body, nn.Sequential):
            raise ValueError("only networks of kind 'cnn' can be stacked")
        self.body = nn.Sequential(*(_stacked(layer, self.count) for layer in first.body))
        self.register_buffer("mean", first.mean.repeat(1, self.count, 1, 1))
        self.register_buffer("deviation", first.deviation.repeat(1, self.count, 1, 1))
        states = [network.state_dict() for network in networks]
        own = {name: _join([state[name] for state in states]) for name in states[0] if name not in _OF_NORMALISATION}
        self.load_state_dict({**self.state_dict(), **own})
        self._alone = {name: states[0][name].clone() for name in _OF_NORMALISATION}

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits [M, B, classes] of pixels [M, B, C, H, W], each network's own batch."""
        side_by_side = pixels.transpose(0, 1).flatten(1, 2)
        if pixels.device.type == "cpu":  # convolutions in groups are then 1.4 to 2.8 times as fast
            side_by_side = side_by_side.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.body((side_by_side.float() - self.mean) / self.deviation)
        return logits

    def clip_gradients(self, norm: float) -> None:
        """Scale each network's gradient to a norm of at most `norm`, as `clip_grad_norm_` does for one."""
        gradients = [p.grad.view(self.count, -1) for p in self.parameters() if p.grad is not None]
        norms = torch.stack([gradient.square().sum(1) for gradient in gradients]).sum(0).sqrt()
        factors = (norm / (norms + 1e-6)).clamp(max=1)[:, None]
        for gradient in gradients:
            gradient.mul_(factors)

    def states(self) -> list[dict[str, Tensor]]:
        """Return each network's state dict, on the CPU."""
        state = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.state_dict().items()}
        own = {name: _split(tensor, self.count) for name, tensor in state.items() if name not in _OF_NORMALISATION}
        return [
            {name: own[name][number] if name in own else self._alone[name].clone() for name in state}
            for number in range(self.count)
        ]


class _StackedLinear(nn.Module):
    """M linear layers: [M, B, in] to [M, B, out]."""

    def __init__(self, layer: nn.Linear, count: int) -> None:
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.empty(count * layer.out_features, layer.in_features))
        # Flat: the optimizer takes a parameter of one dimension for a bias.
        self.bias = nn.Parameter(torch.empty(count * layer.out_features))

    def forward(self, values: Tensor) -> Tensor:
        weight = self.weight.unflatten(0, (self.count, -1))
        bias = self.bias.view(self.count, 1, -1)
        logits: Tensor = torch.baddbmm(bias, values, weight.transpose(1, 2))
        return logits


class _Separate(nn.Module):
    """From [B, M C, H, W] to [M, B, C H W]: the networks separate, each image flat."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, values: Tensor) -> Tensor:
        flat: Tensor = values.unflatten(1, (self.count, -1)).flatten(2).transpose(0, 1)
        return flat


def _stacked(layer: nn.Module, count: int) -> nn.Module:
    """Return the layer that applies `layer` to `count` networks side by side. Raises ValueError if there is none."""
    if isinstance(layer, nn.Conv2d):
        return nn.Conv2d(
            layer.in_channels * count,
            layer.out_channels * count,
            layer.kernel_size,  # type: ignore[arg-type]
            padding=layer.padding,  # type: ignore[arg-type]
            groups=count,
            bias=layer.bias is not None,
        )
    if isinstance(layer, nn.BatchNorm2d):
        return nn.BatchNorm2d(layer.num_features * count, layer.eps, layer.momentum)
    if isinstance(layer, nn.Linear):
        return _StackedLinear(layer, count)
    if isinstance(layer, nn.Flatten):
        return _Separate(count)
    if isinstance(layer, nn.ReLU | nn.MaxPool2d | nn.ZeroPad2d | nn.Dropout):
        return copy.deepcopy(layer)
    raise ValueError(f"a {type(layer).__name__} cannot be stacked")


def _join(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors) if tensors[0].ndim else tensors[0]


def _split(tensor: Tensor, count: int) -> list[Tensor]:
    # Copies: tensors that share memory cannot be saved.
    return [each.clone() for each in (tensor.chunk(count) if tensor.ndim else [tensor] * count)]


@torch.inference_mode()
def predict_all(network: Stacked, images: ImageSet, *, device: torch.device, precision: str) -> Tensor:
    """Return each network's logits float32 [M, images, classes] on the CPU; leaves the network in eval mode."""
    network = network.to(device).eval()
    logits = []
    for batch in images.images.split(prediction_batch_size(device)):
        with autocast(device, precision):  # type: ignore[arg-type]
            logits.append(network(batch.to(device).expand(network.count, *batch.shape)).float())
    return torch.cat(logits, dim=1).cpu()
