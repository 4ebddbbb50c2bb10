"""Streaming of image sets larger than the memory of the device: one window of them at a time is on it."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

_BLOCK = 64  # most images read together: 196 kB of CIFAR-10, which a disk reads at nearly its full rate
# Least blocks of a window. In a set ordered by class, fewer would hold some classes too often.
_BLOCKS = 256
_WILL_NEED = getattr(mmap, "MADV_WILLNEED", 3)


def windowed_order(count: int, window: int) -> Tensor:
    """Return the numbers 0 … count - 1, int64 [count], in random order within each `window` of them and among blocks.

    It shuffles blocks of neighbours, of 64 images or fewer so that a window has 256 blocks, then each window. Drawn
    from torch's global generator.
    """
    block = max(1, min(_BLOCK, window // _BLOCKS))
    starts = torch.randperm(-(-count // block)) * block
    order = (starts[:, None] + torch.arange(block)).flatten()
    order = order[order < count]
    return torch.cat([each[torch.randperm(len(each))] for each in order.split(window)])


class Window:
    """Images [N, C, H, W], of a file or in memory, `size` of them at a time on `device`; indexed by those images."""

    def __init__(self, images: Tensor, device: torch.device, size: int) -> None:
        self.images, self.device, self.size = images, device, size
        self._position = torch.zeros(len(images), dtype=torch.int32, device=device)
        self._held = images[:0]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return self._held[self._position[indices]]

    def over(self, order: Tensor) -> Iterator[Tensor]:
        """Yield the windows, int64 [size] or less, of `order` int64 [n], each while its images are on the device.

        A thread reads the next window meanwhile. Indexing with images of another window returns wrong images; after the
        last window it raises IndexError. Raises what reading `images` raises.
        """
        windows = order.split(self.size)
        try:
            with ThreadPoolExecutor(1, "window") as reader:
                coming = self._begin(reader, windows[0])
                for window, following in zip(windows, [*windows[1:], None], strict=True):
                    rows, read = coming
                    self._hold(rows, read.result())
                    if following is not None:
                        coming = self._begin(reader, following)
                    yield window
        finally:
            self._held = self.images[:0]

    def _begin(self, reader: ThreadPoolExecutor, window: Tensor) -> tuple[Tensor, Future[Tensor]]:
        """Start to read a window; return its images in the order of reading, and the future of their pixels."""
        read = _Read.of(window)
        # Pinned, so that the copy to a GPU does not wait for the steps in its queue.
        pinned = self.device.type == "cuda"
        buffer = torch.empty(len(window), *self.images.shape[1:], dtype=self.images.dtype, pin_memory=pinned)
        return read.rows, reader.submit(read.of_images, self.images, buffer)

    def _hold(self, rows: Tensor, read: Tensor) -> None:
        self._held = self.images[:0]  # first: the device may lack memory for two
        self._held = read.to(self.device, non_blocking=True)
        self._position[rows.to(self.device)] = torch.arange(len(rows), dtype=torch.int32, device=self.device)


@dataclass(frozen=True)
class _Read:
    """The images of a window in stored order; of each run of neighbours its first image and its end in `rows`."""

    rows: Tensor
    firsts: list[int]
    ends: list[int]

    @staticmethod
    def of(window: Tensor) -> _Read:
        rows = window.sort().values
        ends = [*((rows.diff() != 1).nonzero().flatten() + 1).tolist(), len(rows)]
        return _Read(rows, rows[[0, *ends[:-1]]].tolist(), ends)

    def of_images(self, images: Tensor, buffer: Tensor) -> Tensor:
        """Copy the images to `buffer` and return it."""
        # By numpy: torch would start threads for this thread, and more threads than processors slow all steps.
        into, kept, begin = buffer.numpy(), images.numpy(), 0
        self._announce(images)
        for first, end in zip(self.firsts, self.ends, strict=True):
            into[begin:end] = kept[first : first + end - begin]
            begin = end
        return buffer

    def _announce(self, images: Tensor) -> None:
        """Announce all blocks to the system before the first is read: it then reads many of a file at once."""
        if sys.platform == "win32":
            return
        advise = ctypes.CDLL(None).madvise
        size, begin = images[0].nbytes, 0
        for first, end in zip(self.firsts, self.ends, strict=True):
            address = images.data_ptr() + first * size
            before = address % mmap.PAGESIZE
            advise(ctypes.c_void_p(address - before), ctypes.c_size_t((end - begin) * size + before), _WILL_NEED)
            begin = end
