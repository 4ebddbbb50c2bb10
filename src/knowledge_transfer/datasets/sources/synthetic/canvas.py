"""Random streams, outlines and a canvas with smooth edges for the synthetic sources."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw

from knowledge_transfer.learning.data.image_set import ImageSet

_FINER = 4  # edges are drawn this much finer, then averaged
_STREAMS = {"train": 0, "test": 1}


def stream(source: int, part: Literal["train", "test"]) -> np.random.Generator:
    """Return the random generator of one part of the source with that number, at its beginning."""
    return np.random.Generator(np.random.PCG64([source, _STREAMS[part]]))


def regular(corners: int, inner: float = 1.0) -> np.ndarray:
    """Return a polygon [corners, 2] around the origin, one corner up at radius 1, every other one at radius `inner`."""
    angles = np.arange(corners) * (2 * math.pi / corners) - math.pi / 2
    radii = np.where(np.arange(corners) % 2, inner, 1.0)
    return np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]


def turn(degrees: float, *, slant: float = 0.0, squeeze: float = 1.0) -> np.ndarray:
    """Return the matrix [2, 2] that narrows by `squeeze`, slants, then turns clockwise points [N, 2] on its left."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[squeeze, 0.0], [slant, 1.0]]) @ np.array([[cos, sin], [-sin, cos]])


def gradient(rng: np.random.Generator, side: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return [side, side, channels] that goes from one colour [channels] to the other in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    steps = np.linspace(-0.5, 0.5, side)
    along = 0.5 + (steps * math.cos(angle) + steps[:, None] * math.sin(angle)) / math.sqrt(2)
    return one + along[..., None] * (other - one)


class Canvas:
    """A picture to paint on: `pixels` float [side, side, channels], 0 to 255."""

    def __init__(self, ground: np.ndarray) -> None:
        self.pixels = ground

    def fill(self, polygon: np.ndarray, colour: np.ndarray, *, hole: np.ndarray | None = None) -> None:
        """Paint a polygon [corners, 2] of pixel positions (x, y), except where `hole` is."""
        mask, pen = self._mask()
        pen.polygon(_fine(polygon), fill=255)
        if hole is not None:
            pen.polygon(_fine(hole), fill=0)
        self._lay(mask, colour, 1.0)

    def stroke(self, lines: Sequence[np.ndarray], width: float, colour: np.ndarray, *, opacity: float = 1.0) -> None:
        """Draw polylines [points, 2] with round ends; where they cross they are no darker."""
        mask, pen = self._mask()
        for line in lines:
            pen.line(_fine(line), fill=255, width=max(1, round(width * _FINER)), joint="curve")
            for x, y in (line[[0, -1]] * _FINER).tolist():
                pen.circle((x, y), width * _FINER / 2, fill=255)
        self._lay(mask, colour, opacity)

    def clutter(self, rng: np.random.Generator, lines: int, opacity: float) -> None:
        """Scatter faint lines of any colour over the picture."""
        side, _, channels = self.pixels.shape
        for ends in rng.uniform(0, side, (lines, 2, 2)):
            width, colour = rng.uniform(0.5, 2), np.asarray(rng.uniform(0, 255, size=(channels,)))
            self.stroke([ends], width, colour, opacity=opacity)

    def expose(self, rng: np.random.Generator, noise: float) -> np.ndarray:
        """Return the picture as uint8, with noise of that standard deviation."""
        return (self.pixels + rng.normal(0, noise, self.pixels.shape)).round().clip(0, 255).astype(np.uint8)

    def _mask(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        mask = Image.new("L", (self.pixels.shape[1] * _FINER, self.pixels.shape[0] * _FINER))
        return mask, ImageDraw.Draw(mask)

    def _lay(self, mask: Image.Image, colour: np.ndarray, opacity: float) -> None:
        cover = np.asarray(mask.reduce(_FINER))[..., None] * (opacity / 255)
        self.pixels = self.pixels + cover * (colour - self.pixels)


def image_set(
    pictures: list[np.ndarray], class_names: tuple[str, ...], size: int, groups: list[int] | None = None
) -> ImageSet:
    """Return the pictures [side, side, channels], ordered by class and equally many of each, at `size` pixels."""
    images = np.stack([_resized(picture, size) for picture in pictures])
    labels = torch.arange(len(class_names)).repeat_interleave(len(pictures) // len(class_names))
    pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))
    return ImageSet(pixels, labels, class_names, None if groups is None else torch.tensor(groups, dtype=torch.int64))


def _resized(picture: np.ndarray, size: int) -> np.ndarray:
    if picture.shape[0] == size:
        return picture
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).reshape(size, size, -1)


def _fine(points: np.ndarray) -> list[float]:
    flat: list[float] = (points * _FINER).ravel().tolist()
    return flat
