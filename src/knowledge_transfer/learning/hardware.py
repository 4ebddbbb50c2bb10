"""Devices and precision."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch


def resolve_device(choice: str) -> torch.device:
    """Return the device named by `choice`, the first of CUDA device numbers such as `0 1 3`.

    `auto` takes CUDA, then Apple's MPS, then the CPU. Raises ValueError for a device that this machine lacks.
    """
    if numbers := numbers_in(choice):
        choice = f"cuda:{numbers[0]}"
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(choice)
    except RuntimeError as error:
        known = "auto, cpu, mps, cuda, or numbers of GPUs such as [0, 1]"
        raise ValueError(f"'{choice}' is no device: use {known}") from error
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    is_counted = device.type != "cuda" or (device.index or 0) < torch.cuda.device_count()
    if not present.get(device.type, False) or not is_counted:
        have = [kind for kind, is_here in present.items() if is_here]
        raise ValueError(f"device '{choice}' is not on this machine, which has {', '.join(have)}: set devices to auto")
    return device


def numbers_in(choice: str) -> tuple[int, ...]:
    """Return the numbers of CUDA devices in `choice`, none for a word such as `auto`."""
    words = choice.split()
    return tuple(map(int, words)) if all(word.isdecimal() for word in words) else ()


def has_native_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def prediction_batch_size(device: torch.device) -> int:
    """Return the number of images in a batch of prediction."""
    # A layer's output for 512 images does not fit a processor's cache: 128 are 1.4 to 2 times as fast.
    return 128 if device.type == "cpu" else 512


def autocast(device: torch.device, precision: Literal["auto", "bf16", "fp32"]) -> AbstractContextManager[None]:
    """Return a context in which matrix products run in bfloat16, with `auto` where the hardware has it."""
    enabled = precision == "bf16" or (precision == "auto" and has_native_bf16(device))
    # The cache of cast weights would be rebuilt in every step anyway and breaks under inference mode.
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)
