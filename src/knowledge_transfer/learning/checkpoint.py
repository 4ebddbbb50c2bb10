"""Checkpoint: trained weights and the facts that say what they are, where they come from and whether they are whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from knowledge_transfer.learning.blocks import ALL, Block
from knowledge_transfer.learning.images import ImageSet
from knowledge_transfer.learning.knobs import Knobs
from knowledge_transfer.learning.models import Architecture, Network, build


class Facts(Knobs):
    """What a checkpoint is; the sidecar file beside its weights and one row of a run's inventory.

    `name` is the identity of the model in this run, `round` the round that made it (0: before any transfer);
    `domain` whose classes it answers with, `all` for every one;
    `mean` and `deviation` the channel statistics that the network subtracts and divides by, of pixels in [0, 1];
    `images_sha256` the set it learned from; `parents` maps each checkpoint it descends from (its start, its teachers)
    to that checkpoint's hash; `metrics` are those of
    the epoch whose weights these are, on validation and in training, never on test.
    """

    name: str = Field(min_length=1)
    round: int = Field(ge=0)
    domain: str = ALL
    architecture: Architecture
    class_names: tuple[str, ...]
    channels: int = Field(ge=1)
    image_size: int = Field(ge=1)
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    parameters: int = Field(ge=0)
    seed: int
    images_sha256: str
    recipe: dict[str, Any]
    teaching: dict[str, Any] | None = None
    parents: dict[str, str] = {}
    metrics: dict[str, float] = {}
    sha256: str

    @property
    def key(self) -> str:
        """The checkpoint's name among its run's: `resnet8@0`."""
        return f"{self.name}@{self.round}"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights (a state dict on the CPU) and their facts."""

    facts: Facts
    state: dict[str, Tensor]

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the weights as they are now; equals `facts.sha256` unless a bit has changed."""
        return weights_sha256(self.state)

    def build(self) -> Network:
        """Return the network in eval mode with these weights, on the CPU.

        Raises ValueError when the weights do not fit the architecture that the facts name.
        """
        facts = self.facts
        # On the meta device, for initial weights that nobody will see take longer to draw than these to copy.
        with torch.device("meta"):
            network = build(
                facts.architecture,
                classes=len(facts.class_names),
                channels=facts.channels,
                image_size=facts.image_size,
                mean=facts.mean,
                deviation=facts.deviation,
            )
        try:
            network.load_state_dict({name: tensor.clone() for name, tensor in self.state.items()}, assign=True)
        except RuntimeError as error:
            raise ValueError(f"the weights of {facts.key} are not those of {facts.architecture}: {error}") from error
        return network.eval()

    def require(self, architecture: Architecture, images: ImageSet) -> None:
        """Raise ValueError, naming both sides, unless this is that architecture for such images and their classes."""
        if self.facts.architecture != architecture:
            raise ValueError(f"{self.facts.key} is a {self.facts.architecture}, not a {architecture}")
        if self.facts.class_names != images.class_names:
            raise ValueError(
                f"{self.facts.key} answers with the classes {list(self.facts.class_names)}, "
                f"the images have {list(images.class_names)}"
            )
        if self.facts.domain != images.domain:
            raise ValueError(f"{self.facts.key} answers for domain '{self.facts.domain}', not '{images.domain}'")
        self._require_shape(images)

    def block_in(self, images: ImageSet) -> Block:
        """Return the block of the images' classes that it answers with.

        Raises ValueError, naming both sides, when its domain is not among the images, has other classes there, or the
        images are of another shape.
        """
        facts = self.facts
        domains = [block.domain for block in images.blocks]
        if facts.domain not in (ALL, *domains):
            raise ValueError(f"{facts.key} answers for domain '{facts.domain}', the images are of {', '.join(domains)}")
        block = Block(ALL, 0, images.class_names) if facts.domain == ALL else images.block(facts.domain)
        if block.class_names != facts.class_names:
            raise ValueError(
                f"{facts.key} answers with the classes {list(facts.class_names)}, the block of domain '{block.domain}' "
                f"has {list(block.class_names)}"
            )
        self._require_shape(images)
        return block

    def _require_shape(self, images: ImageSet) -> None:
        shape = [self.facts.channels, self.facts.image_size, self.facts.image_size]
        if list(images.images.shape[1:]) != shape:
            raise ValueError(f"{self.facts.key} takes images of {shape}, these are {list(images.images.shape[1:])}")


def weights_sha256(state: dict[str, Tensor]) -> str:
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
