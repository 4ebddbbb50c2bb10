"""Slots: which devices are free, where several nodes may share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from knowledge_transfer.runners.local.devices import Place


@dataclass
class Slots:
    """The devices of a machine, each of which `per_device` nodes may share; a node on several has them to itself."""

    places: Sequence[Place]
    per_device: int = 1
    used: dict[Place, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.used = dict.fromkeys(self.places, 0)

    def has_room(self, devices: int) -> bool:
        """Return whether a node that computes on so many devices fits now."""
        return self._fitting(devices) is not None

    def take(self, devices: int) -> tuple[Place, ...]:
        """Return the least used devices, and count them as used. Raises ValueError when there are not so many."""
        chosen = self._fitting(devices)
        if chosen is None:
            raise ValueError(f"{devices} devices asked for, none free of {len(self.places)}")
        for place in chosen:
            self.used[place] += self._share(devices)
        return chosen

    def give_back(self, places: Sequence[Place]) -> None:
        """Count devices that were taken together as free again."""
        for place in places:
            self.used[place] -= self._share(len(places))

    def _share(self, devices: int) -> int:
        return 1 if devices == 1 else self.per_device

    def _fitting(self, devices: int) -> tuple[Place, ...] | None:
        fitting = [place for place in self.places if self.used[place] + self._share(devices) <= self.per_device]
        # Sorting keeps the order of the machine among equals.
        fitting.sort(key=lambda place: self.used[place])
        return tuple(fitting[:devices]) if len(fitting) >= devices else None
