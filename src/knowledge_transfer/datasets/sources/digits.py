"""scikit-learn's bundled digits: 1,797 real scans of 8x8 pixels (Alpaydin and Kaynak, 1998), enlarged."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import fixed_part


def read(part: Literal["train", "test"], size: int) -> ImageSet:
    """Return the digits as uint8 [N, 1, size, size]; a fifth of each class is the test set, always the same."""
    rows = torch.from_numpy(np.loadtxt(_file(), delimiter=",", dtype=np.uint8))
    pixels = rows[:, :64].reshape(-1, 1, 8, 8).float() * (255 / 16)
    enlarged = F.interpolate(pixels, size=size, mode="bicubic", align_corners=False).clamp(0, 255).round()
    return fixed_part(ImageSet(enlarged.to(torch.uint8), rows[:, 64].long(), tuple("0123456789")), part)


def _file() -> Path:
    """Return the file that scikit-learn reads; to import it would take most of a second of every run."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("digits come with scikit-learn: pip install scikit-learn")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
