"""Capital letters of straight strokes in varying handwriting, grey, 28 x 28 pixels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from knowledge_transfer.datasets.sources.synthetic.canvas import Canvas, gradient, image_set, stream, turn
from knowledge_transfer.learning.data.image_set import ImageSet

# The strokes of each letter, every point its column and row on a grid of 5 x 5.
_LETTERS = {
    "A": ("04 20 44", "12 32"),
    "E": ("40 00 04 44", "02 32"),
    "F": ("40 00 04", "02 32"),
    "H": ("00 04", "40 44", "02 42"),
    "K": ("00 04", "40 02 44"),
    "L": ("00 04 44",),
    "M": ("04 00 22 40 44",),
    "N": ("04 00 44 40",),
    "T": ("00 40", "20 24"),
    "X": ("00 44", "40 04"),
    "Y": ("00 22 40", "22 24"),
    "Z": ("00 40 04 44",),
}
_STROKES = {
    name: [np.array([(int(point[0]), int(point[1])) for point in stroke.split()]) / 4 - 0.5 for stroke in strokes]
    for name, strokes in _LETTERS.items()
}
_SIDE = 28
_PER_CLASS = {"train": 85, "test": 25}
_STREAM = 1


def read(part: Literal["train", "test"], size: int) -> ImageSet:
    """Return the letters as uint8 [N, 1, size, size], ordered by class."""
    rng = stream(_STREAM, part)
    pictures = [_draw(rng, strokes) for strokes in _STROKES.values() for _ in range(_PER_CLASS[part])]
    return image_set(pictures, tuple(_STROKES), size)


def _draw(rng: np.random.Generator, strokes: list[np.ndarray]) -> np.ndarray:
    ink, paper = rng.uniform(150, 255, 1), rng.uniform(0, 110, (2, 1))
    canvas = Canvas(gradient(rng, _SIDE, *paper))
    canvas.clutter(rng, int(rng.integers(0, 3)), 0.3)
    height = rng.uniform(14, 22)
    pose = turn(rng.uniform(-18, 18), slant=rng.uniform(-0.25, 0.25), squeeze=rng.uniform(0.6, 1.0)) * height
    centre = _SIDE / 2 + rng.uniform(-2.5, 2.5, 2)
    # Handwriting deviates from the grid.
    lines = [(stroke + rng.normal(0, 0.06, stroke.shape)) @ pose + centre for stroke in strokes]
    canvas.stroke(lines, rng.uniform(1.6, 3.4), ink)
    return canvas.expose(rng, rng.uniform(5, 30))
