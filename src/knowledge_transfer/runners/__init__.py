"""Runners: `DeviceRunner` for the devices of one machine, `RayRunner` for a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from knowledge_transfer.runners.local.runner import DeviceRunner, default_runner

if TYPE_CHECKING:
    from knowledge_transfer.runners.cluster.ray_runner import RayRunner

__all__ = ["DeviceRunner", "RayRunner", "default_runner"]


def __getattr__(name: str) -> Any:
    # Only when asked for: Ray is an extra.
    if name == "RayRunner":
        from knowledge_transfer.runners.cluster.ray_runner import RayRunner

        return RayRunner
    raise AttributeError(name)
