"""Plane shapes, light on dark in colours independent of the class, 32 x 32 pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from knowledge_transfer.datasets.sources.synthetic.canvas import Canvas, gradient, image_set, regular, stream, turn
from knowledge_transfer.learning.data.image_set import ImageSet

_CIRCLE = regular(48)
_ARM = 0.33
_CROSS = np.array(
    [
        *[(-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM)],
        *[(_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM)],
    ]
)
_ARROW = np.array([(0, -1), (0.9, 0.1), (0.22, 0.1), (0.22, 1), (-0.22, 1), (-0.22, 0.1), (-0.9, 0.1)])
# Outline and hole of each, within a circle of radius 1.
_SHAPES: dict[str, tuple[np.ndarray, np.ndarray | None]] = {
    "circle": (_CIRCLE, None),
    "square": (regular(4), None),
    "triangle": (regular(3), None),
    "star": (regular(10, inner=0.42), None),
    "cross": (_CROSS, None),
    "ring": (_CIRCLE, _CIRCLE * 0.55),
    "crescent": (_CIRCLE, _CIRCLE * 0.8 + (0.55, 0)),
    "arrow": (_ARROW, None),
}
_SIDE = 32
_PER_CLASS = {"train": 125, "test": 38}
_STREAM = 2


def read(part: Literal["train", "test"], size: int) -> ImageSet:
    """Return the shapes as uint8 [N, 3, size, size], ordered by class."""
    rng = stream(_STREAM, part)
    pictures = [_draw(rng, *shape) for shape in _SHAPES.values() for _ in range(_PER_CLASS[part])]
    return image_set(pictures, tuple(_SHAPES), size)


def _draw(rng: np.random.Generator, outline: np.ndarray, hole: np.ndarray | None) -> np.ndarray:
    one, other = rng.uniform(0, 80, (2, 3))
    colour = rng.uniform(140, 255, 3)
    canvas = Canvas(gradient(rng, _SIDE, one, other))
    canvas.clutter(rng, int(rng.integers(0, 3)), 0.25)
    radius = rng.uniform(10.5, 13)
    pose = turn(rng.uniform(-45, 45), slant=rng.uniform(-0.15, 0.15), squeeze=rng.uniform(0.8, 1.0)) * radius
    centre = _SIDE / 2 + rng.uniform(-1, 1, 2) * (_SIDE / 2 - radius)
    canvas.fill(outline @ pose + centre, colour, hole=None if hole is None else hole @ pose + centre)
    return canvas.expose(rng, rng.uniform(3, 10))
