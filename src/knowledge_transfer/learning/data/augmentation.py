"""Views: augmentations as pure functions of (image, view number, seed), batched, on the images' device.

A teacher that labels today and a learner that trains tomorrow render the same pixels, bit for bit, in any batch and any
order: every random number is a hash of where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.data.hashed_random import Draws
from knowledge_transfer.learning.data.streaming import Window

# One stream of random numbers per decision.
_ROW, _COLUMN, _FLIP, _CUT_ROW, _CUT_COLUMN, _PARTNER, _BOX_ROW, _BOX_COLUMN, _SHARE = range(9)
_MIDDLE_GREY = 128


class Augmentation(Config):
    """What makes one view differ from another; the default changes nothing.

    `crop`: largest shift in pixels, edges reflected; `flip`: mirror left-right with probability 1/2, or `alternating`:
    half of the images in one view and the other half in the next (Jordan 2024, arXiv 2404.00498); `cutout`: side of the
    square set to the middle grey, in pixels; `mixup`, `cutmix`: the Beta parameter of the share that a partner image
    gets (Zhang 2018, Yun 2019), 0 for none.
    """

    crop: int = Field(default=0, ge=0)
    flip: bool | Literal["alternating"] = False
    cutout: int = Field(default=0, ge=0)
    mixup: float = Field(default=0.0, ge=0, le=1)
    cutmix: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _one_mixture(self) -> Augmentation:
        if self.mixup and self.cutmix:
            raise ValueError("mixup and cutmix cannot be combined: set one of them to 0")
        return self


@dataclass(frozen=True)
class View:
    """One rendered batch: `pixels` uint8 [B, C, H, W]; the label of `partner` [B] weighs 1 - `share` [B]."""

    pixels: Tensor
    partner: Tensor
    share: Tensor


@dataclass(frozen=True)
class Places:
    """The position of each image of a mix among the images of its domain; every field is int64 [N].

    `number` is the image's position, `count` the number of its domain's images. `order` lists the images by domain, and
    `first` is where the image's domain begins in it. Views depend on these alone: a domain has the same views in a mix
    and by itself, and a partner is of the same domain.
    """

    number: Tensor
    count: Tensor
    first: Tensor
    order: Tensor

    @staticmethod
    def of(domains: Tensor) -> Places:
        """Return the places of images whose domains are `domains`, int64 [N], on the same device."""
        order = domains.argsort(stable=True)
        counts = torch.bincount(domains)
        first = (counts.cumsum(0) - counts)[domains]
        number = torch.empty_like(order)
        number[order] = torch.arange(len(order), device=order.device) - first[order]
        return Places(number, counts[domains], first, order)


def render(
    images: Tensor | Window,
    indices: Tensor,
    *,
    view: int,
    seed: int,
    augmentation: Augmentation,
    places: Places | None = None,
) -> View:
    """Return view number `view` of the images at `indices`.

    `images` uint8 [N, C, H, W] is the whole set: a partner of mixup may be any image of its domain. Without partners it
    may be the window that holds the images. `indices` int64 [B] is on the same device. `places` are those of a mix
    (none: one domain). Without augmentation the pixels are the images themselves.
    """
    numbers = indices if places is None else places.number[indices]
    draw = Draws(numbers, view, seed)
    pixels = _shifted(images[indices], draw, augmentation)
    if augmentation.cutout:
        pixels = _cut(pixels, draw, augmentation.cutout)
    strength = augmentation.mixup or augmentation.cutmix
    if not strength:
        return View(pixels, indices, torch.ones(len(indices), device=indices.device))
    if places is None:
        number = partner = (draw.uniform(_PARTNER) * len(images)).long()
    else:
        number = (draw.uniform(_PARTNER) * places.count[indices]).long()
        partner = places.order[places.first[indices] + number]
    other = _shifted(images[partner], Draws(number, view, seed), augmentation)
    share = (draw.beta(_SHARE, strength) * 256).round() / 256
    if augmentation.mixup:
        return View(_blend(pixels, other, share), partner, share)
    return _paste(pixels, other, partner, share, draw)


def _shifted(pixels: Tensor, draw: Draws, augmentation: Augmentation) -> Tensor:
    """Shift by up to `crop` pixels with reflected edges, and mirror."""
    if not augmentation.crop and not augmentation.flip:
        return pixels
    rows = _reflected(draw, _ROW, pixels.shape[2], augmentation.crop)
    columns = _reflected(draw, _COLUMN, pixels.shape[3], augmentation.crop)
    if augmentation.flip:
        columns = torch.where(_mirrored(draw, augmentation)[:, None], columns.flip(1), columns)
    flat = (rows[:, :, None] * pixels.shape[3] + columns[:, None, :]).flatten(1)
    return pixels.flatten(2).gather(2, flat[:, None, :].expand(-1, pixels.shape[1], -1)).view(pixels.shape)


def _mirrored(draw: Draws, augmentation: Augmentation) -> Tensor:
    """Return which images, bool [B], the view mirrors."""
    if augmentation.flip == "alternating":
        return (Draws(draw.indices, 0, draw.seed).uniform(_FLIP) < 0.5) ^ bool(draw.view % 2)
    return draw.uniform(_FLIP) < 0.5


def _reflected(draw: Draws, stream: int, size: int, crop: int) -> Tensor:
    """Return source positions [B, size] of a shift in -crop … crop."""
    crop = min(crop, size - 1)
    shift = draw.below(stream, 2 * crop + 1) - crop
    position = (torch.arange(size, device=shift.device) + shift[:, None]).abs()
    return torch.where(position < size, position, 2 * (size - 1) - position)


def _box(draw: Draws, streams: tuple[int, int], shape: torch.Size, side: Tensor) -> Tensor:
    """Return a mask [B, 1, H, W] of squares of `side` [B] pixels around a drawn centre, cut off at the edges."""
    inside = []
    for stream, size in zip(streams, shape[2:], strict=True):
        start = draw.below(stream, size) - side // 2
        position = torch.arange(size, device=side.device)
        inside.append((position >= start[:, None]) & (position < (start + side)[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def _cut(pixels: Tensor, draw: Draws, side: int) -> Tensor:
    sides = torch.full((len(pixels),), side, device=pixels.device)
    return pixels.masked_fill(_box(draw, (_CUT_ROW, _CUT_COLUMN), pixels.shape, sides), _MIDDLE_GREY)


def _blend(pixels: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Mix in whole grey levels, the share in 256ths: the pixels stay bytes."""
    level = (share * 256).long().view(-1, 1, 1, 1)
    return ((pixels.long() * level + other.long() * (256 - level) + 128) >> 8).to(torch.uint8)


def _paste(pixels: Tensor, other: Tensor, partner: Tensor, share: Tensor, draw: Draws) -> View:
    """Paste a square of the partner; the share is what is left of the image once the edges have cut the square."""
    area = pixels.shape[2] * pixels.shape[3]
    side = ((1 - share) * area).sqrt().round().long()
    box = _box(draw, (_BOX_ROW, _BOX_COLUMN), pixels.shape, side)
    return View(torch.where(box, other, pixels), partner, 1 - box.flatten(1).float().mean(1))


def soft_targets(labels: Tensor, view: View, indices: Tensor, classes: int) -> Tensor:
    """Return the labels of a view as distributions [B, classes]: one-hot, or shared with the partner's label."""
    own = F.one_hot(labels[indices], classes).float()
    partner = F.one_hot(labels[view.partner], classes).float()
    share = view.share[:, None]
    return share * own + (1 - share) * partner
