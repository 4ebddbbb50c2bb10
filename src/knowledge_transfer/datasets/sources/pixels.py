"""Image files to pixels: any size, depth, orientation and format that Pillow reads."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

# What Pillow's decoders raise for broken files, found by experiment; its UnidentifiedImageError is an OSError.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError)


def is_grey(file: Path) -> bool:
    """Return whether the image is stored without colour. Reads its header alone; raises ValueError naming the file."""
    try:
        with Image.open(file) as image:
            return image.mode in {"1", "L", "LA", "La", "F"} or image.mode.startswith("I")
    except _BROKEN as error:
        raise _unreadable(file, error) from error


def read_files(files: Sequence[Path], *, grey: bool, size: int) -> Tensor:
    """Return the middle squares of `files`, turned upright, as uint8 [N, 1 (grey) or 3, size, size].

    What is transparent becomes white. Raises ValueError naming the first file that cannot be read.
    """
    pixels = np.empty((len(files), 1 if grey else 3, size, size), dtype=np.uint8)
    # Threads suffice, for Pillow decodes without Python's lock; each full-size image is gone once it is reduced.
    with ThreadPoolExecutor() as pool:
        for row, image in enumerate(pool.map(lambda file: read_file(file, grey=grey, size=size), files)):
            pixels[row] = image
    return torch.from_numpy(pixels)


def read_file(file: Path, *, grey: bool, size: int) -> np.ndarray:
    """Return the image in a file as `prepared` does. Raises ValueError, naming it, when it cannot be read."""
    try:
        with Image.open(file) as image:
            image.draft(None, (2 * size, 2 * size))  # a photograph's JPEG decodes at an eighth of its size
            return prepared(image, grey=grey, size=size)
    except _BROKEN as error:
        raise _unreadable(file, error) from error


def prepared(image: Image.Image, *, grey: bool, size: int) -> np.ndarray:
    """Return the middle square of an image, turned upright, as uint8 [1 (grey) or 3, size, size].

    What is transparent becomes white. Raises ValueError for pixels of no agreed range.
    """
    plain = _opaque(_eight_bits(ImageOps.exif_transpose(image))).convert("L" if grey else "RGB")
    if plain.size != (size, size):
        side = min(plain.size)
        left, top = (plain.width - side) // 2, (plain.height - side) // 2
        plain = plain.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.ascontiguousarray(np.moveaxis(np.atleast_3d(np.asarray(plain)), -1, 0))


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale deeper grey levels to 0-255: Pillow's own conversion cuts everything above 255 to white."""
    if image.mode == "F":
        raise ValueError("pixels are fractions of no agreed range: save it with 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image).astype(np.int64)
    if levels.min() < 0 or levels.max() > 65535:
        raise ValueError("more than 16 bits a pixel: save it with 8 or 16")
    return Image.fromarray(((levels + 128) // 257).astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    """Lay a transparent image on white, as on paper; what is stored below full transparency is arbitrary."""
    if not image.has_transparency_data:
        return image
    above = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)


def _unreadable(file: Path, error: Exception) -> ValueError:
    return ValueError(f"cannot read the image {file}: {error}; repair or remove it")
