"""Weights trained elsewhere, with which a network starts."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from knowledge_transfer.learning.models import external
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import Network, undisturbed, weights_sha256

PRETRAINED = "pretrained"  # in place of a file: those that the library of the network publishes
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # means and deviations with which most weights were trained
_COUNTER = "num_batches_tracked"  # which older files lack, and on which no prediction depends


@dataclass(frozen=True, eq=False)
class Pretrained:
    """Weights trained elsewhere on other classes: a state dict by the body's own names, on the CPU, and its origin.

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
        """Copy these weights into `network`, except into a last layer of another shape, which predicts other classes.

        Raises ValueError that names what is missing or of another shape.
        """
        last, own = f"{network.last_layer[0]}.", network.body.state_dict()
        if any(
            name not in self.state or self.state[name].shape != own[name].shape for name in own if name.startswith(last)
        ):
            own = {name: each for name, each in own.items() if not name.startswith(last)}
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


def read(weights: str, architecture: Architecture) -> Pretrained:
    """Return the weights in a file, or, for `pretrained`, those that the network's library publishes.

    A file is a checkpoint of this package, a safetensors file or a state dict that torch has saved, read without
    running code in it. Raises ValueError that names the file and the fault.
    """
    if weights == PRETRAINED:
        # A library draws initial weights before it replaces them.
        with undisturbed():
            state, mean, deviation = external.published(architecture.kind, architecture.options)
        return Pretrained(f"{architecture.kind} {PRETRAINED}", state, mean, deviation)
    state = state_dict(Path(weights), weights)
    if {"mean", "deviation"} <= state.keys():  # a checkpoint of this package, which normalises by itself
        mean, deviation = (tuple((state[name].flatten() / 255).tolist()) for name in ("mean", "deviation"))
        body = {name.removeprefix("body."): each for name, each in state.items() if name.startswith("body.")}
        return Pretrained(weights, body, mean, deviation)
    return Pretrained(weights, state, *IMAGENET)


def state_dict(file: Path, address: str) -> dict[str, Tensor]:
    """Return the tensors in a file by name, without running code in it. Raises ValueError, naming the `address`."""
    import safetensors.torch  # which a machine with torch alone lacks, and a run without such weights

    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ValueError(f"there are no weights at {address}: correct `weights`") from error
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ValueError(f"{address} is no file of weights, or is damaged: {external.in_one_line(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError(f"{address} holds no state dict: save `network.state_dict()` alone")
    return state
