"""Views: augmentations as pure functions of (image, view number, seed), batched, on the images' device.

A teacher and a learner render the same pixels, bit for bit, in any batch and any order: every random number is a hash
of the image, the view, the seed and the decision that it is drawn for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.data.domains import DomainIndex
from knowledge_transfer.learning.data.streaming import Window

# One stream of random numbers per decision.
_ROW, _COLUMN, _FLIP, _CUT_ROW, _CUT_COLUMN, _PARTNER, _BOX_ROW, _BOX_COLUMN, _WEIGHT = range(9)
_MIDDLE_GREY = 128
_BETA_TRIES = 16


class Augmentation(Config):
    """What makes one view differ from another; the default changes nothing.

    `crop`: largest shift in pixels, edges reflected; `flip`: mirror left-right with probability 1/2, or `alternating`:
    half of the images in one view and the other half in the next (Jordan 2024, arXiv 2404.00498); `cutout`: side of the
    square set to the middle grey, in pixels; `mixup`, `cutmix`: the Beta parameter of the weight of a partner image
    (Zhang 2018, Yun 2019), 0 for none.
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
    """One rendered batch: `pixels` uint8 [B, C, H, W]; the label of `partner` [B] weighs 1 - `weight` [B]."""

    pixels: Tensor
    partner: Tensor
    weight: Tensor


def render(
    images: Tensor | Window,
    indices: Tensor,
    *,
    view: int,
    seed: int,
    augmentation: Augmentation,
    domain_index: DomainIndex | None = None,
) -> View:
    """Return view number `view` of the images at `indices`.

    `images` uint8 [N, C, H, W] is the whole set: a partner of mixup may be any image of its domain. Without partners it
    may be the window that holds the images. `indices` int64 [B] is on the same device. A mix needs its `domain_index`,
    so that each domain has the same views as by itself. Without augmentation the pixels are the images themselves.
    """
    numbers = indices if domain_index is None else domain_index.number[indices]
    draw = Draws(numbers, view, seed)
    pixels = _shifted(images[indices], draw, augmentation)
    if augmentation.cutout:
        sides = torch.full((len(pixels),), augmentation.cutout, device=pixels.device)
        pixels = pixels.masked_fill(_box(draw, (_CUT_ROW, _CUT_COLUMN), pixels.shape, sides), _MIDDLE_GREY)
    strength = augmentation.mixup or augmentation.cutmix
    if not strength:
        return View(pixels, indices, torch.ones(len(indices), device=indices.device))
    if domain_index is None:
        number = partner = (draw.uniform(_PARTNER) * len(images)).long()
    else:
        number = (draw.uniform(_PARTNER) * domain_index.count[indices]).long()
        partner = domain_index.order[domain_index.first[indices] + number]
    other = _shifted(images[partner], Draws(number, view, seed), augmentation)
    weight = (draw.beta(_WEIGHT, strength) * 256).round() / 256
    if augmentation.mixup:
        return View(_blend(pixels, other, weight), partner, weight)
    return _paste(pixels, other, partner, weight, draw)


def soft_targets(labels: Tensor, view: View, indices: Tensor, classes: int) -> Tensor:
    """Return the labels of a view as distributions [B, classes]: one-hot, or mixed with the partner's label.

    A label that is withheld, below 0, is a row of zeros.
    """
    own, partner = (_one_hot(labels[images], classes) for images in (indices, view.partner))
    weight = view.weight[:, None]
    return weight * own + (1 - weight) * partner


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels.clamp(min=0), classes).float() * (labels >= 0)[:, None]


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
    """Return a mask [B, 1, H, W] of squares of `side` [B] pixels around a drawn centre, clipped at the edges."""
    inside = []
    for stream, size in zip(streams, shape[2:], strict=True):
        start = draw.below(stream, size) - side // 2
        position = torch.arange(size, device=side.device)
        inside.append((position >= start[:, None]) & (position < (start + side)[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def _blend(pixels: Tensor, other: Tensor, weight: Tensor) -> Tensor:
    """Mix in whole grey levels, the weight in 256ths: the pixels stay bytes."""
    level = (weight * 256).long().view(-1, 1, 1, 1)
    return ((pixels.long() * level + other.long() * (256 - level) + 128) >> 8).to(torch.uint8)


def _paste(pixels: Tensor, other: Tensor, partner: Tensor, weight: Tensor, draw: Draws) -> View:
    """Paste a square of the partner; the weight is the area that the clipped square leaves of the image."""
    area = pixels.shape[2] * pixels.shape[3]
    side = ((1 - weight) * area).sqrt().round().long()
    box = _box(draw, (_BOX_ROW, _BOX_COLUMN), pixels.shape, side)
    return View(torch.where(box, other, pixels), partner, 1 - box.flatten(1).float().mean(1))


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

        It takes the first acceptable of 16 pairs of numbers, else 1/2: once in 65,536 images at strength 1, less often
        below.
        """
        result = torch.full(self.key.shape, 0.5, device=self.key.device)
        is_open = torch.ones(self.key.shape, dtype=torch.bool, device=self.key.device)
        for attempt in range(_BETA_TRIES):
            first, second = (
                self.uniform(100 + stream + 2 * attempt + k).clamp_min(1e-7) ** (1 / strength) for k in (0, 1)
            )
            accepted = is_open & (first + second <= 1) & (first + second > 0)
            result = torch.where(accepted, first / (first + second).clamp_min(1e-30), result)
            is_open = is_open & ~accepted
        return result


def _scramble(bits: Tensor) -> Tensor:
    """Scramble the low 32 bits of int64 numbers (Wellons' `lowbias32`); the products wrap, which the mask undoes."""
    mask = 0xFFFFFFFF
    bits = bits & mask
    bits = ((bits ^ (bits >> 16)) * 0x7FEB352D) & mask
    bits = ((bits ^ (bits >> 15)) * 0x846CA68B) & mask
    return bits ^ (bits >> 16)
