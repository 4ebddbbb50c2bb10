"""Weights of a network trained elsewhere on other classes, from which one of the same body may start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from knowledge_transfer.learning.models.network import Network

_COUNTER = "num_batches_tracked"  # which older files lack, and on which no prediction depends


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A state dict by the body's own names, on the CPU, and where it is from.

    `mean` and `deviation` are the channel statistics, of pixels in [0, 1], that it was trained with.
    """

    origin: str
    state: dict[str, Tensor]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the weights."""
        return weights_sha256(self.state)

    @torch.no_grad()
    def put_into(self, network: Network) -> None:
        """Copy these weights into `network`, except into its last layer, which predicts other classes.

        Raises ValueError that names what is missing or of another shape.
        """
        last = next(reversed(dict(network.body.named_children())))
        own = {name: each for name, each in network.body.state_dict().items() if not name.startswith(f"{last}.")}
        if missing := [name for name in own if name not in self.state and not name.endswith(_COUNTER)]:
            raise ValueError(
                f"the weights {self.origin} are not of this network: '{missing[0]}' is missing{_and_others(missing)}"
            )
        present = {name: each for name, each in own.items() if name in self.state}
        if unfit := [name for name, each in present.items() if each.shape != self.state[name].shape]:
            theirs, ours = list(self.state[unfit[0]].shape), list(present[unfit[0]].shape)
            raise ValueError(
                f"the weights {self.origin} are not of a network of this width: '{unfit[0]}' is {theirs}, here {ours}"
                f"{_and_others(unfit)}"
            )
        for name, tensor in present.items():
            tensor.copy_(self.state[name])


def _and_others(names: list[str]) -> str:
    return f", and so are {len(names) - 1} others" if len(names) > 1 else ""


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """Return the hex digest of names, shapes, types and bytes of `state`, in name order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def cpu_state(network: nn.Module) -> dict[str, Tensor]:
    """Return a detached, contiguous copy of the network's state on the CPU."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in network.state_dict().items()}
