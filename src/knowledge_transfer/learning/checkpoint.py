"""Checkpoint: trained weights, and the facts about what they are and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from torch import Tensor

from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.data.domains import ALL, Block
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import Network, empty


class Facts(Config):
    """What a checkpoint is, as its file holds it.

    `name` is the identity of the model in this run, `round` the round that made it (0: before any transfer), `domain`
    that of the classes it predicts. `mean` and `deviation` are the channel statistics by which the network normalises
    pixels in [0, 1]. `images_sha256` is the set it learned from. `parents` maps the keys of its start and its teachers
    to their hashes. `metrics` are those of the epoch whose weights these are, in training and on validation. `warning`
    says what is wrong with a model that has not learned, and why. `validation_nll` is the NLL of each candidate, by
    key, of which these weights were kept (none: there was no choice), `chosen_from` that of each alpha and temperature
    that was tried.
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
    warning: str = ""
    validation_nll: dict[str, float] = {}
    chosen_from: dict[str, float] = {}
    sha256: str

    @property
    def key(self) -> str:
        """Name and round: `resnet8@0`."""
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
        """Return the network in eval mode, on the CPU. Raises ValueError when weights and architecture do not fit."""
        facts = self.facts
        network = empty(
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
        facts = self.facts
        if facts.architecture != architecture:
            raise ValueError(f"{facts.key} is a {facts.architecture}, not a {architecture}")
        if facts.domain != images.domain:
            raise ValueError(f"{facts.key} predicts domain '{facts.domain}', not '{images.domain}'")
        self.block_in(images)

    def block_in(self, images: ImageSet) -> Block:
        """Return the block of the images' classes that it predicts.

        Raises ValueError, naming both sides, for images of other domains, classes or shape.
        """
        facts = self.facts
        domains = [block.domain for block in images.blocks]
        if facts.domain not in (ALL, *domains):
            raise ValueError(f"{facts.key} predicts domain '{facts.domain}', the images are of {', '.join(domains)}")
        block = Block(ALL, 0, images.class_names) if facts.domain == ALL else images.block(facts.domain)
        if block.class_names != facts.class_names:
            raise ValueError(
                f"{facts.key} predicts the classes {list(facts.class_names)}, "
                f"images of domain '{block.domain}' have {list(block.class_names)}"
            )
        shape = [facts.channels, facts.image_size, facts.image_size]
        if list(images.images.shape[1:]) != shape:
            raise ValueError(f"{facts.key} takes images of {shape}, these are {list(images.images.shape[1:])}")
        return block


def require_one_lineage(models: Sequence[Facts]) -> None:
    """Raise ValueError, naming both, for models of one key that differ, or a parent here that is another version."""
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

    Otherwise validation or transfer images, split with another seed, may be images that an old model learned. Models of
    round 0 learn from the student set, later ones from it, the transfer set or both, or those of them with a label.
    """
    known: dict[str, tuple[set[str], set[str]]] = {}
    for model in models:
        if model.domain not in known:
            ours, transfer = student_images.of(model.domain), transfer_images.of(model.domain)
            sets = (ours, transfer, transfer.join(ours))
            labelled = (each.subset(each.is_labelled) for each in sets if not each.is_labelled.all())
            known[model.domain] = {ours.sha256}, {each.sha256 for each in (*sets, *labelled)}
        first, later = known[model.domain]
        if model.images_sha256 not in (later if model.round else first):
            raise ValueError(f"{model.key} learned from other images than the present sets: train it again")
