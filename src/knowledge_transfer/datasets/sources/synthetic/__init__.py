"""Images that are drawn, not downloaded: letters, shapes and road signs, the same bits at every call."""

from __future__ import annotations

from typing import Literal

from knowledge_transfer.datasets.sources.synthetic import glyphs, road_signs, shapes
from knowledge_transfer.learning.data.image_set import ImageSet

SOURCES = ("glyphs", "shapes", "road_signs")
_READERS = dict(zip(SOURCES, (glyphs.read, shapes.read, road_signs.read), strict=True))


def read(source: str, part: Literal["train", "test"], size: int) -> ImageSet:
    """Return one part of `source` as uint8 [N, 1 (glyphs) or 3, size, size], the classes equally often.

    The frames of one road sign share a group; nothing else has groups. Raises ValueError for an unknown source or part.
    """
    if source not in _READERS:
        raise ValueError(f"unknown source '{source}': choose one of {', '.join(SOURCES)}")
    if part not in ("train", "test"):
        raise ValueError(f"unknown part '{part}': choose train or test")
    return _READERS[source](part, size)
