"""Windows: image sets larger than the memory of the device, of which a part at a time is there.

The next part is read while the present one is learnt from.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 64  # images that are read together at most: 196 kB of CIFAR-10, which a disk reads at nearly its full rate
# Of a set that lies class by class a window holds whole blocks: fewer of them would have some classes too often.
_BLOCKS = 256
_WILL_NEED = getattr(mmap, "MADV_WILLNEED", 3)


def windowed_order(count: int, window: int) -> Tensor:
    """Return the numbers 0 … count - 1, int64 [count], in random order within each `window` of them and among blocks.

    Blocks of neighbours, 64 or as many as make 256 blocks a window, are put in random order first, so that each window
    holds some from everywhere, and each window of them is shuffled then. Drawn from torch's global generator.
    """
    block = max(1, min(_BLOCK, window // _BLOCKS))
    starts = torch.randperm(-(-count // block)) * block
    order = (starts[:, None] + torch.arange(block)).flatten()
    order = order[order < count]
    return torch.cat([part[torch.randperm(len(part))] for part in order.split(window)])


class Window:
    """Images [N, C, H, W] of which `size` at a time are on `device`; indexed like the tensor, by images of that window.

    `images` may be memory-mapped: none of it is read but the windows.
    """

    def __init__(self, images: Tensor, device: torch.device, size: int) -> None:
        self.images, self.device, self.size = images, device, size
        self._place = torch.zeros(len(images), dtype=torch.int32, device=device)
        self._held = images[:0]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return self._held[self._place[indices]]

    def over(self, order: Tensor) -> Iterator[Tensor]:
        """Yield `order` a window at a time, each while its images are on the device; the next is read meanwhile."""
        parts = order.split(self.size)
        try:
            with ThreadPoolExecutor(1, "window") as reader:
                coming = self._begin(reader, parts[0])
                for part, following in zip(parts, [*parts[1:], None], strict=True):
                    rows, read = coming
                    self._hold(rows, read.result())
                    if following is not None:
                        coming = self._begin(reader, following)
                    yield part
        finally:
            self._held = self.images[:0]

    def _begin(self, reader: ThreadPoolExecutor, part: Tensor) -> tuple[Tensor, Future[Tensor]]:
        """Return the images of a window in the order in which they are read, and the reading, begun."""
        read = _Read.of(part)
        # Pinned, so that the copy to a GPU need not wait for the steps that it was told before.
        pinned = self.device.type == "cuda"
        room = torch.empty(len(part), *self.images.shape[1:], dtype=self.images.dtype, pin_memory=pinned)
        return read.rows, reader.submit(read.of_images, self.images, room)

    def _hold(self, rows: Tensor, read: Tensor) -> None:
        self._held = self.images[:0]  # first: the device need not have room for two
        self._held = read.to(self.device, non_blocking=True)
        self._place[rows.to(self.device)] = torch.arange(len(rows), dtype=torch.int32, device=self.device)


@dataclass(frozen=True)
class _Read:
    """The images of a window in the order in which they are kept, and each run of neighbours: its first and its end."""

    rows: Tensor
    firsts: list[int]
    ends: list[int]

    @staticmethod
    def of(part: Tensor) -> _Read:
        rows = part.sort().values
        ends = [*((rows.diff() != 1).nonzero().flatten() + 1).tolist(), len(rows)]
        return _Read(rows, rows[[0, *ends[:-1]]].tolist(), ends)

    def of_images(self, images: Tensor, room: Tensor) -> Tensor:
        """Copy the images to `room` and return it; in a thread of its own."""
        # By numpy: torch would start threads for this one, and with more of them than processors all steps are slower.
        into, kept, begin = room.numpy(), images.numpy(), 0
        self._announce(images)
        for first, end in zip(self.firsts, self.ends, strict=True):
            into[begin:end] = kept[first : first + end - begin]
            begin = end
        return room

    def _announce(self, images: Tensor) -> None:
        """Tell the system of all blocks before the first is touched: of a file it then reads many at once."""
        if sys.platform == "win32":
            return
        advise = ctypes.CDLL(None).madvise
        size, begin = images[0].nbytes, 0
        for first, end in zip(self.firsts, self.ends, strict=True):
            address = images.data_ptr() + first * size
            before = address % mmap.PAGESIZE
            advise(ctypes.c_void_p(address - before), ctypes.c_size_t((end - begin) * size + before), _WILL_NEED)
            begin = end
