"""Windows: image sets larger than the memory of the device, of which a part at a time is there.

The next part is read while the present one is learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

_BLOCK = 64  # images that are read together: 196 kB of CIFAR-10, of which a disk reads at nearly its full rate


def windowed_order(count: int, window: int) -> Tensor:
    """Return the numbers 0 … count - 1, int64 [count], in random order within each `window` of them and among blocks.

    Blocks of 64 neighbours are put in random order first, so that each window holds some from everywhere, and each
    window of them is shuffled then. Drawn from torch's global generator.
    """
    starts = torch.randperm(-(-count // _BLOCK)) * _BLOCK
    order = (starts[:, None] + torch.arange(_BLOCK)).flatten()
    order = order[order < count]
    return torch.cat([part[torch.randperm(len(part))] for part in order.split(window)])


class Window:
    """Images [N, C, H, W] of which one window is on `device`; indexed like the tensor, by images of that window.

    `images` may be memory-mapped: none of it is read but the windows.
    """

    def __init__(self, images: Tensor, device: torch.device) -> None:
        self.images, self.device = images, device
        self._place = torch.zeros(len(images), dtype=torch.int32, device=device)
        self._held = images[:0]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return self._held[self._place[indices]]

    def over(self, order: Tensor, window: int) -> Iterator[Tensor]:
        """Yield `order` a `window` at a time, each while its images are on the device."""
        parts = order.split(window)
        with ThreadPoolExecutor(1, "window") as reader:
            coming: Future[Tensor] = reader.submit(self._read, parts[0])
            for position, part in enumerate(parts):
                read = coming.result()
                if position + 1 < len(parts):
                    coming = reader.submit(self._read, parts[position + 1])
                self._held = read.to(self.device)
                rows = part.sort().values.to(self.device)
                self._place[rows] = torch.arange(len(rows), dtype=torch.int32, device=self.device)
                yield part
        self._held = self.images[:0]

    def _read(self, part: Tensor) -> Tensor:
        # In the order of the file: a block is one read, and the disk is asked for each page once.
        return self.images[part.sort().values]
