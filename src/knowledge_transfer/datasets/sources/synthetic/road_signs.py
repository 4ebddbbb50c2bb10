"""Road signs as a passing car films them, 32 x 32 pixels: tracks of frames in which one sign comes nearer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from knowledge_transfer.datasets.sources.synthetic.canvas import Canvas, gradient, image_set, regular, stream, turn
from knowledge_transfer.learning.data.image_set import ImageSet

_RED, _WHITE, _BLACK = np.array([195, 30, 40]), np.array([240, 240, 240]), np.array([25, 25, 30])
_BLUE, _YELLOW = np.array([25, 85, 175]), np.array([245, 190, 30])

_DISC, _TRIANGLE = regular(48), regular(3) * 1.15
_OCTAGON = regular(8) @ turn(22.5)
_BAR = np.array([(-0.6, -0.17), (0.6, -0.17), (0.6, 0.17), (-0.6, 0.17)])
_UP = np.array([(0, -0.75), (0.6, -0.05), (0.18, -0.05), (0.18, 0.7), (-0.18, 0.7), (-0.18, -0.05), (-0.6, -0.05)])
_BEND = np.array([(0.25, 0.4), (0.25, -0.02), (-0.12, -0.4), (-0.32, -0.22), (0.0, 0.1), (0.0, 0.4)])
_MIRROR = np.array([-1, 1])
_Layer = tuple[np.ndarray, np.ndarray]


def _plate(outline: np.ndarray, rim: np.ndarray, face: np.ndarray, inner: float = 0.78) -> list[_Layer]:
    return [(outline, rim), (outline * inner, face)]


_SLASH = (_BAR * (1.3, 0.7) @ turn(45), _RED)
_LEFT = _UP @ turn(-90)
_BANNED, _WARNING = _plate(_DISC, _RED, _WHITE), _plate(_TRIANGLE, _RED, _WHITE, 0.66)
_ORDER, _PRIORITY = _plate(_DISC, _WHITE, _BLUE, 0.92), _plate(regular(4), _WHITE, _YELLOW, 0.75)
# Each sign's polygons and their colours, from the plate upwards, within a circle of radius 1.15.
_SIGNS: dict[str, list[_Layer]] = {
    "no_entry": [*_plate(_DISC, _WHITE, _RED, 0.93), (_BAR, _WHITE)],
    "no_vehicles": _BANNED,
    "no_left_turn": [*_BANNED, (_LEFT * 0.85, _BLACK), _SLASH],
    "no_stopping": [*_plate(_DISC, _RED, _BLUE), _SLASH, (_SLASH[0] * _MIRROR, _RED)],
    "give_way": [(outline @ turn(180), colour) for outline, colour in _WARNING],
    "danger": [*_WARNING, (_BAR @ turn(90) * (0.7, 0.45) - (0, 0.12), _BLACK), (_DISC * 0.13 + (0, 0.36), _BLACK)],
    "crossroads": [*_WARNING, *((_BAR * 0.65 @ turn(angle) + (0, 0.1), _BLACK) for angle in (45, -45))],
    "bend_left": [*_WARNING, (_BEND, _BLACK)],
    "bend_right": [*_WARNING, (_BEND * _MIRROR, _BLACK)],
    "turn_left": [*_ORDER, (_LEFT, _WHITE)],
    "turn_right": [*_ORDER, (_LEFT * _MIRROR, _WHITE)],
    "straight_ahead": [*_ORDER, (_UP, _WHITE)],
    "priority_road": _PRIORITY,
    "end_of_priority_road": [*_PRIORITY, (_BAR * (1.3, 0.7) @ turn(-45), _BLACK)],
    "stop": [*_plate(_OCTAGON, _WHITE, _RED, 0.92), (_BAR * (1.15, 1.3), _WHITE)],
}
_SIDE = 32
_TRACKS = {"train": 11, "test": 20}
_FRAMES = 6
_STREAM = 3


@dataclass(frozen=True)
class _Track:
    """What the frames of one sign have in common."""

    layers: list[_Layer]
    ground: np.ndarray
    pose: np.ndarray
    light: np.ndarray
    fading: float
    noise: float


def read(part: Literal["train", "test"], size: int) -> ImageSet:
    """Return the signs as uint8 [N, 3, size, size], ordered by class.

    The frames of a training track are a group; test images are single frames of other tracks and have none.
    """
    rng = stream(_STREAM, part)
    tracks = [_film(rng, layers) for layers in _SIGNS.values() for _ in range(_TRACKS[part])]
    if part == "test":
        return image_set([_frame(rng, track, rng.random()) for track in tracks], tuple(_SIGNS), size)
    pictures = [_frame(rng, track, nearness) for track in tracks for nearness in np.linspace(0, 1, _FRAMES)]
    groups = [number for number in range(len(tracks)) for _ in range(_FRAMES)]
    return image_set(pictures, tuple(_SIGNS), size, groups)


def _film(rng: np.random.Generator, layers: list[_Layer]) -> _Track:
    sky, earth = rng.uniform(60, 160, (2, 1)) + rng.uniform(-20, 20, (2, 3))
    canvas = Canvas(gradient(rng, _SIDE, sky, earth))
    canvas.clutter(rng, int(rng.integers(1, 5)), 0.25)
    brightness, cast = rng.uniform(0.7, 1.1), rng.uniform(0.92, 1.06, 3)
    return _Track(
        layers=layers,
        ground=canvas.pixels,
        pose=turn(rng.uniform(-8, 8), slant=rng.uniform(-0.1, 0.1), squeeze=rng.uniform(0.85, 1.0)),
        light=gradient(rng, _SIDE, brightness * cast, rng.uniform(0.75, 1) * brightness * cast),
        fading=rng.uniform(0, 0.25),
        noise=rng.uniform(2, 8),
    )


def _frame(rng: np.random.Generator, track: _Track, nearness: float) -> np.ndarray:
    canvas = Canvas(track.ground)
    pose = track.pose @ turn(rng.uniform(-3, 3)) * (10.5 + 3.5 * nearness + rng.uniform(-0.5, 0.5))
    centre = _SIDE / 2 + rng.uniform(-1.5, 1.5, 2)
    for outline, colour in track.layers:
        canvas.fill(outline @ pose + centre, colour + track.fading * (150 - colour))
    canvas.pixels = canvas.pixels * track.light
    return canvas.expose(rng, track.noise)
