"""Checkpoint: trained weights and the facts that say what they are, where they come from and whether they are whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.data.domains import ALL, Block
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import Network, build


class Facts(Config):
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
    distillation: dict[str, Any] | None = None
    parents: dict[str, str] = {}
    metrics: dict[str, float] = {}
    sha256: str

    @property
    def key(self) -> str:
        """The checkpoint's name among its run's: `resnet8@0`."""
        return f"{self.name}@{self.round}"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model: its facts, its weights and its learning curve.

    `state` is a state dict on the CPU; that of a checkpoint in a file is read, and checked, when it is first used.
    `curve` has a row for each epoch: losses, accuracies, learning rate, images per second.
    """

    facts: Facts
    state: Mapping[str, Tensor]
    curve: tuple[Mapping[str, Any], ...] = ()

    @property
    def sha256(self) -> str:
        """Hex digest of the weights, as the facts name it."""
        return self.facts.sha256

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


def require_one_lineage(models: Sequence[Facts]) -> None:
    """Raise ValueError, naming both, when a model descends from another version of a model that is also here.

    Parents that are not among `models` are not judged. Two different models of one name and round are refused too.
    """
    present: dict[str, str] = {}
    for model in models:
        if present.setdefault(model.key, model.sha256) != model.sha256:
            raise ValueError(f"there are two different {model.key}: compare the models of one run")
    for model in models:
        for parent, sha256 in model.parents.items():
            if present.get(parent, sha256) != sha256:
                raise ValueError(
                    f"{model.key} descends from another {parent} than the one here: "
                    f"run again from the stage that makes {model.key}"
                )


def require_present_images(models: Sequence[Facts], student_images: ImageSet, transfer_images: ImageSet) -> None:
    """Raise ValueError, naming the model, when one learned from other images than the present sets.

    Cut anew, with another seed say, the validation or the transfer set may hold images that an old model learned.
    Models of round 0 learn from the student set, later ones from the transfer set or from both, each of its domain.
    """
    known: dict[str, tuple[set[str], set[str]]] = {}
    for model in models:
        domain = model.domain
        if domain not in known:
            ours, transfer = student_images.of(domain), transfer_images.of(domain)
            known[domain] = {ours.sha256}, {transfer.sha256, transfer.join(ours).sha256}
        first, later = known[domain]
        if model.images_sha256 not in (later if model.round else first):
            raise ValueError(f"{model.key} learned from other images than the present sets: train it again")
