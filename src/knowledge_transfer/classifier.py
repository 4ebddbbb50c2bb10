"""A trained model that answers about a user's images: the names of their classes, with probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from knowledge_transfer.datasets.sources.pixels import prepared, read_file
from knowledge_transfer.learning import checkpoint_file
from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.hardware import resolve_device


class Prediction(NamedTuple):
    """The likeliest class of an image, its probability, and the probability of every class, the likeliest first."""

    name: str
    probability: float
    probabilities: dict[str, float]


class Classifier:
    """A checkpoint with its network, on `device`: auto (a GPU, else the CPU), cpu, cuda or mps."""

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        self._network, self._device = checkpoint.build(), resolve_device(device)
        self.facts: Facts = checkpoint.facts

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that it knows."""
        return self.facts.class_names

    def classify(self, images: Any) -> list[Prediction]:
        """Return a prediction for each image, prepared as the images that it learned from.

        `images` are a path, a PIL image, or a list of those; or a uint8 array [H, W], [H, W, 3], [N, H, W] or
        [N, H, W, 1 or 3]. Raises ValueError for anything else, such as floats, and for an image that cannot be read.
        """
        each = _one_by_one(images, is_grey=self._is_grey)
        pixels = torch.from_numpy(np.stack([self._prepared(image) for image in each]))
        unknown = torch.zeros(len(pixels), dtype=torch.int64)
        logits = predict(self._network, ImageSet(pixels, unknown, self.class_names), device=self._device)
        return [self._prediction(row) for row in logits.softmax(1).tolist()]

    @property
    def _is_grey(self) -> bool:
        return self.facts.channels == 1

    def _prepared(self, image: str | Path | Image.Image) -> np.ndarray:
        size = self.facts.image_size
        if isinstance(image, Image.Image):
            return prepared(image, grey=self._is_grey, size=size)
        return read_file(Path(image), grey=self._is_grey, size=size)

    def _prediction(self, probabilities: list[float]) -> Prediction:
        named = sorted(zip(self.class_names, probabilities, strict=True), key=lambda pair: -pair[1])
        return Prediction(*named[0], dict(named))


def load(path: str | Path, device: str = "auto") -> Classifier:
    """Return the model in a checkpoint's file.

    Raises ValueError, naming the file, when it is damaged or of another version, and FileNotFoundError.
    """
    return Classifier(checkpoint_file.load(path), device)


def _one_by_one(images: Any, *, is_grey: bool) -> Sequence[str | Path | Image.Image]:
    """Return the images one by one. Raises ValueError, saying what is wrong, for none and for what are no images."""
    if isinstance(images, torch.Tensor):
        images = images.numpy(force=True)
    if isinstance(images, np.ndarray):
        return [Image.fromarray(each) for each in _whole(images, is_grey=is_grey)]
    each = [images] if isinstance(images, str | Path | Image.Image) else list(images)
    if not each:
        raise ValueError("there are no images to classify")
    if others := [one for one in each if not isinstance(one, str | Path | Image.Image)]:
        raise ValueError(f"images are paths, PIL images or one uint8 array, not a list of {type(others[0]).__name__}")
    return each


def _whole(array: np.ndarray, *, is_grey: bool) -> np.ndarray:
    """Return uint8 [N, H, W] or [N, H, W, 3] of an array of one image or several."""
    if array.dtype != np.uint8:
        raise ValueError(f"images are uint8 from 0 to 255, these are {array.dtype}: multiply those in [0, 1] by 255")
    is_planar = not is_grey and array.shape[0] in (1, 3) and array.shape[-1] > 3
    if array.ndim == 3 and (array.shape[-1] in (1, 2, 4) or is_planar):
        raise ValueError(f"{list(array.shape)} may be one image or several: give [H, W, 3], or [N, H, W, 1 or 3]")
    is_coloured = array.shape[-1:] == (3,)
    many = array[None] if array.ndim == (3 if is_coloured else 2) else array
    many = many[..., 0] if many.ndim == 4 and many.shape[-1] == 1 else many
    if many.ndim != (4 if is_coloured else 3) or 0 in many.shape:
        raise ValueError(f"images are [H, W], [H, W, 3], [N, H, W] or [N, H, W, 1 or 3], these {list(array.shape)}")
    return many
