"""scikit-learn's bundled digits: 1,797 real scans of 8x8 pixels (Alpaydin and Kaynak, 1998), enlarged."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import fixed_part


def read(part: Literal["train", "test"], size: int) -> ImageSet:
    """Return the digits as uint8 [N, 1, size, size]; a fifth of each class is the test set, always the same."""
    from sklearn.datasets import load_digits  # most of a second that no worker process needs

    bunch = load_digits()
    pixels = torch.from_numpy(bunch.images).float()[:, None] * (255 / 16)
    enlarged = F.interpolate(pixels, size=size, mode="bicubic", align_corners=False).clamp(0, 255).round()
    names = tuple(str(name) for name in bunch.target_names)
    return fixed_part(ImageSet(enlarged.to(torch.uint8), torch.from_numpy(bunch.target).long(), names), part)
