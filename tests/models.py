"""Networks, fits of a moment, and checkpoints whose facts a test may change."""

from typing import Any

import torch

from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import Network, build, cpu_state, weights_sha256
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training.recipe import Recipe

CPU = torch.device("cpu")
MEAN, DEVIATION = (0.5,), (0.3,)
NORMALISATION = Normalisation(mean=MEAN, deviation=DEVIATION)
NARROW = Architecture(kind="resnet8", width=0.5)
QUICK = Recipe(epochs=1, batch_size=10, precision="fp32")


def network(
    kind: str = "resnet8", width: float = 0.25, *, classes: int = 3, channels: int = 1, seed: int = 0
) -> Network:
    """Return a fresh network for images of 32 pixels."""
    torch.manual_seed(seed)
    architecture = Architecture(kind=kind, width=width)
    return build(architecture, classes=classes, channels=channels, image_size=32, mean=MEAN, deviation=DEVIATION)


def facts(**changes: Any) -> Facts:
    """Return the facts of a narrow resnet8 for three classes, with these changes."""
    known = {
        "name": "resnet8", "round": 0, "architecture": Architecture(kind="resnet8", width=0.25),
        "class_names": ("cat", "dog", "bird"), "channels": 1, "image_size": 32, "mean": MEAN, "deviation": DEVIATION,
        "parameters": 1, "seed": 0, "images_sha256": "0" * 64, "recipe": {}, "sha256": "",
    }  # fmt: skip
    return Facts(**{**known, **changes})


def checkpoint(seed: int = 0, curve: tuple[dict[str, Any], ...] = (), **changes: Any) -> Checkpoint:
    """Return a checkpoint of a fresh network with these facts."""
    known = facts(seed=seed, **changes)
    shape = {"classes": len(known.class_names), "channels": known.channels}
    state = cpu_state(network(known.architecture.kind, known.architecture.width, seed=seed, **shape))
    return Checkpoint(known.model_copy(update={"sha256": known.sha256 or weights_sha256(state)}), state, curve)


def fit(
    name: str, images: ImageSet, architecture: Architecture = NARROW, recipe: Recipe = QUICK, seed: int = 0, **how: Any
) -> Checkpoint:
    """Return a network trained on the images for a moment, by default a narrow resnet8 for one epoch."""
    data = FitData(images, images, NORMALISATION)
    return learn(name, architecture, data, recipe, LearnOptions(seed, CPU), **how)
