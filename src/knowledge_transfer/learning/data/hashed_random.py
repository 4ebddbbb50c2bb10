"""Random numbers that are hashes of where they are used: the same in any batch, any order and on any device."""

from __future__ import annotations

import torch
from torch import Tensor

_BETA_TRIES = 16


class Draws:
    """Random numbers of a batch that depend on (image index, view, seed, stream) alone; `indices` int64 [B]."""

    def __init__(self, indices: Tensor, view: int, seed: int) -> None:
        self.indices, self.view, self.seed = indices, view, seed
        salt = _scramble(torch.tensor(view ^ int(_scramble(torch.tensor(seed)))))
        self.key = _scramble(indices ^ salt.to(indices.device, non_blocking=True))

    def uniform(self, stream: int) -> Tensor:
        """Return float32 [B] in [0, 1)."""
        salt = _scramble(torch.tensor(stream + 1)).to(self.key.device, non_blocking=True)
        return (_scramble(self.key ^ salt) >> 8).float() / (1 << 24)

    def below(self, stream: int, bound: int) -> Tensor:
        """Return int64 [B] in 0 … bound - 1."""
        return (self.uniform(stream) * bound).long()

    def beta(self, stream: int, strength: float) -> Tensor:
        """Return float32 [B] ~ Beta(strength, strength), strength in (0, 1], by Jöhnk's method (1964).

        It takes the first acceptable of 16 pairs of numbers. Where none is acceptable it returns 1/2: once in 65,536
        images at strength 1, less often below.
        """
        result = torch.full(self.key.shape, 0.5, device=self.key.device)
        open_ = torch.ones(self.key.shape, dtype=torch.bool, device=self.key.device)
        for attempt in range(_BETA_TRIES):
            first, second = (
                self.uniform(100 + stream + 2 * attempt + k).clamp_min(1e-7) ** (1 / strength) for k in (0, 1)
            )
            accepted = open_ & (first + second <= 1) & (first + second > 0)
            result = torch.where(accepted, first / (first + second).clamp_min(1e-30), result)
            open_ = open_ & ~accepted
        return result


def _scramble(bits: Tensor) -> Tensor:
    """Scramble the low 32 bits of int64 numbers (Wellons' `lowbias32`); the products wrap, which the mask undoes."""
    mask = 0xFFFFFFFF
    bits = bits & mask
    bits = ((bits ^ (bits >> 16)) * 0x7FEB352D) & mask
    bits = ((bits ^ (bits >> 15)) * 0x846CA68B) & mask
    return bits ^ (bits >> 16)
