"""One line of the figure that tells a run, and what it may show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TARGET_ARMS = {
    "labels": "labels alone",
    "no_labels": "teachers alone",
    "label_smoothing": "smoothed labels",
    "all_labels": "all labels (ceiling)",
}
Measured = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One line of the figure: the accuracies of one model before it was taught, after, and of its reference arm."""

    name: str
    path: tuple[Measured, ...] = ()
    reference: Measured | None = None

    @property
    def before(self) -> Measured | None:
        """The model as it was before any transfer, if there was one."""
        return self.path[0] if self.path and self.path[0]["round"] == 0 else None

    @property
    def after(self) -> Measured | None:
        """The model after the last round."""
        return self.path[-1] if self.path and self.path[-1]["round"] > 0 else None
