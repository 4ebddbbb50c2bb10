"""Weights that a ResNet50 starts from: ImageNet's, which torchvision publishes, or a file of a user's own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset
from kedro.io.core import DatasetError
from torch import Tensor

from knowledge_transfer.datasets.storage.download import fetch_weights
from knowledge_transfer.datasets.storage.store import Store
from knowledge_transfer.learning.models.weights import IMAGENET, Pretrained, state_dict

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

_FILE = "resnet50-0676ba61.pth"  # torchvision's IMAGENET1K_V1; the last word is the beginning of its sha256
_INSTEAD = "set `weights: null` (`--params dark_knowledge.weights=null`) to train the teacher from fresh weights"


class PretrainedWeightsDataset(AbstractDataset[None, Pretrained]):
    """The state dict of a `torchvision.models.resnet50` that was trained with ImageNet's normalisation.

    `weights`: `imagenet`, read from the folder `path` and downloaded into it if need be, or a file: safetensors or a
    state dict that torch has saved, read without running any code in it, also at an address reached with `credentials`.
    Raises DatasetError that names the fault, the file and the remedy.
    """

    def __init__(
        self,
        *,
        weights: str | None,
        path: str,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._weights, self._folder, self._credentials = weights, Path(path), credentials
        self.metadata = metadata

    def load(self) -> Pretrained:
        """Return the weights."""
        if self._weights is None:
            raise DatasetError("no pretrained weights are named: set `weights` in globals.yml")
        state = self._published() if self._weights == "imagenet" else self._own(self._weights)
        return Pretrained(self._weights, state, *IMAGENET)

    def save(self, data: None) -> None:  # noqa: ARG002 - Kedro names it
        """Refuse: they are read only."""
        raise DatasetError("pretrained weights are read only")

    def _published(self) -> dict[str, Tensor]:
        file = self._folder / _FILE
        try:
            if not file.is_file():
                fetch_weights(_imagenet(), self._folder)
        except (OSError, RuntimeError) as error:
            raise DatasetError(
                f"the ImageNet weights are not in {self._folder} and cannot be downloaded: put {_imagenet().url} "
                f"there yourself, or {_INSTEAD} ({' '.join(str(error).split())})"
            ) from error
        if not hashlib.sha256(file.read_bytes()).hexdigest().startswith(file.stem.rpartition("-")[2]):
            raise DatasetError(f"{file} is damaged or not the published one: delete it and run again")
        return _state_dict(file, str(file))

    def _own(self, weights: str) -> dict[str, Tensor]:
        store = Store.at(weights, self._credentials)
        if not store.exists():
            raise DatasetError(f"there are no pretrained weights at {store.address}: correct `weights`, or {_INSTEAD}")
        with store.on_disk() as file:
            return _state_dict(file, store.address)

    def _describe(self) -> dict[str, Any]:
        return {"weights": self._weights, "path": str(self._folder)}


def _imagenet() -> WeightsEnum:
    """Return what `pretrained=True` meant in the studies that are repeated here."""
    from torchvision.models import ResNet50_Weights  # a second, which most runs need not wait for

    return ResNet50_Weights.IMAGENET1K_V1


def _state_dict(file: Path, address: str) -> dict[str, Tensor]:
    try:
        return state_dict(file, address)
    except ValueError as error:
        raise DatasetError(str(error)) from error
