"""A batch divided among ranks, so that together they compute what one device computes with the whole batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Shard:
    """The rows of each batch that `rank` of so many `ranks` computes; a single rank communicates with no other."""

    rank: int = 0
    ranks: int = 1

    def rows(self, size: int) -> slice:
        """Return the rank's rows of a batch of `size` images: consecutive, and sizes differ by at most one."""
        return slice(size * self.rank // self.ranks, size * (self.rank + 1) // self.ranks)

    def gather(self, own: Tensor, size: int) -> Tensor:
        """Return [size, C], the rows of every rank, from this rank's `own` [b, C]; every rank must call it."""
        whole: Tensor = own if self.ranks == 1 else _Gather.apply(own, self, size)
        return whole

    def wrap(self, network: nn.Module, size: int) -> nn.Module:
        """Return the module to call instead of `network` on the rank's rows of batches of `size` images.

        It replaces the layers of `network` that use a whole batch; the names of its state stay.
        """
        if self.ranks == 1:
            return network
        on_cpu = next(network.parameters()).device.type == "cpu"
        if not on_cpu:
            nn.SyncBatchNorm.convert_sync_batchnorm(network)
        for parent in list(network.modules()):
            for name, layer in parent.named_children():
                if isinstance(layer, nn.Dropout):
                    setattr(parent, name, _WholeDropout(layer.p, self, size))
                elif isinstance(layer, nn.BatchNorm2d) and on_cpu:
                    setattr(parent, name, _WholeBatchNorm.of(layer))
        together = DistributedDataParallel(network)
        # Buffers are statistics of whole batches, the same on every rank. Not an argument: torch 2.13 renamed it.
        together.broadcast_buffers = False
        return together


WHOLE = Shard()


class _Gather(torch.autograd.Function):
    """The rows of all ranks; backwards, this rank's rows of the gradient, times the number of ranks.

    Every rank computes the loss L of the whole batch, but its backward pass runs through its own logits z_r alone.
    DistributedDataParallel then averages: 1/n sum_r dL/dz_r dz_r/dw, too little by the factor n that is applied here.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, shard: Shard, size: int) -> Tensor:
        ctx.shard, ctx.rows = shard, shard.rows(size)
        # A sum with zeros: it works for shards of unequal length on every backend.
        whole = own.new_zeros(size, *own.shape[1:])
        whole[ctx.rows] = own
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.rows] * ctx.shard.ranks, None, None


class _Sum(torch.autograd.Function):
    """The sum over the ranks, of batch statistics; every rank's loss depends on it, so its gradient is a sum too."""

    @staticmethod
    def forward(_: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class _WholeBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the statistics of all ranks' images, on the CPU, where torch's SyncBatchNorm refuses."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    @classmethod
    def of(cls, plain: nn.BatchNorm2d) -> _WholeBatchNorm:
        """Return such a layer with the parameters and running statistics of `plain`."""
        layer = cls(plain.num_features, plain.eps, plain.momentum)
        layer.load_state_dict(plain.state_dict(), assign=True)
        return layer

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return super().forward(values)
        kind = self.weight.dtype
        # In one message, and in float64: the variance is the small difference of two large numbers.
        exact = values.double()
        own = [exact.sum((0, 2, 3)), exact.square().sum((0, 2, 3)), exact.new_tensor([exact[:, 0].numel()])]
        sums: Tensor = _Sum.apply(torch.cat(own))
        total, squares, count = sums.split([len(each) for each in own])
        mean = total / count
        variance = squares / count - mean.square()
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(kind), self.momentum)
            self.running_var.lerp_((variance * count / (count - 1)).to(kind), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt().to(kind)
        shift = self.bias - mean.to(kind) * scale
        normalised: Tensor = values * scale[:, None, None] + shift[:, None, None]
        return normalised.to(values.dtype)


class _WholeDropout(nn.Module):
    """Dropout that draws for the whole batch and takes its rows: on the CPU, the masks are those of one rank."""

    def __init__(self, p: float, shard: Shard, size: int) -> None:
        super().__init__()
        self.p, self.shard, self.size = p, shard, size

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return values
        kept = values.new_empty(self.size, *values.shape[1:]).bernoulli_(1 - self.p)
        return values * kept.div_(1 - self.p)[self.shard.rows(self.size)]
