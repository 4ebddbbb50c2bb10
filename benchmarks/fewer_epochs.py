"""Which optimizer and which flips reach more in as many epochs: `python -m benchmarks.fewer_epochs --folder FOLDER`.

The folder holds one of images per class, such as CIFAR-10's, or `train` with them. Every way learns the same images
from the same first weights; its learning rate is the best of a few by validation with a seed of its own, and what is
printed comes from other seeds: validation accuracy after so many epochs, and how far it is above SGD's, pair by pair. A
rate marked * is at the edge of those tried. Decay is 0.05 for AdamW and Muon, where it is decoupled, 0.0005 for SGD.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import machine, standard_error
from knowledge_transfer.datasets.sources import image_folder
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.data.splits import split, stratified_indices
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training.recipe import Recipe

_TUNING_SEED = 1000
_AUGMENTATION: dict[str, Any] = {"crop": 4, "flip": True}
_ALTERNATING = {**_AUGMENTATION, "flip": "alternating"}
# Each way's knobs, and the learning rates among which validation chooses.
WAYS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "SGD": ({}, (0.05, 0.1, 0.2, 0.4)),
    "SGD, alternating flip": ({"augmentation": _ALTERNATING}, (0.05, 0.1, 0.2, 0.4)),
    "AdamW": ({"optimizer": "adamw", "weight_decay": 0.05}, (0.003, 0.006, 0.012, 0.024)),
    "Muon": ({"optimizer": "muon", "weight_decay": 0.05}, (0.006, 0.012, 0.024, 0.048)),
    "Muon, alternating flip": (
        {"optimizer": "muon", "weight_decay": 0.05, "augmentation": _ALTERNATING},
        (0.006, 0.012, 0.024, 0.048),
    ),
}


@dataclass(frozen=True)
class Setting:
    """What every way shares."""

    architecture: Architecture
    images: ImageSet
    validation: ImageSet
    batch_size: int
    device: torch.device

    def accuracy(self, way: str, rate: float, epochs: int, seed: int) -> tuple[float, float]:
        """Return validation accuracy in [0, 1] after the last epoch, and the seconds of the fit."""
        recipe = Recipe(
            **{
                "epochs": epochs,
                "batch_size": self.batch_size,
                "learning_rate": rate,
                "augmentation": _AUGMENTATION,
                **WAYS[way][0],
            }
        )
        mean, deviation = self.images.statistics()
        began = time.perf_counter()
        checkpoint = learn(
            "a",
            self.architecture,
            FitData(self.images, self.validation, Normalisation(mean=mean, deviation=deviation)),
            recipe,
            LearnOptions(seed=seed, device=self.device),
        )
        return checkpoint.curve[-1]["validation_accuracy"], time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--validation", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = resolve_device(options.device)
    images = image_folder.read(options.folder, "train", 32)
    some = images.subset(stratified_indices(images.labels, options.images + options.validation, seed=0))
    training, validation = split(some, options.validation / len(some), seed=0)
    architecture = Architecture.model_validate({"kind": options.model, "width": options.width})
    setting = Setting(architecture, training, validation, options.batch_size, device)
    print(f"{machine(device)}; {architecture}, {len(training)} images, {len(validation)} to validate\n")
    print("| epochs | way | rate | accuracy, % | above SGD, points | s |\n|---|---|---|---|---|---|")
    for epochs in options.epochs:
        _compare(setting, epochs, options.seeds)


def _compare(setting: Setting, epochs: int, seeds: int) -> None:
    reference: list[float] = []
    for way, (_, rates) in WAYS.items():
        rate = max(rates, key=lambda each: setting.accuracy(way, each, epochs, _TUNING_SEED)[0])
        found = [setting.accuracy(way, rate, epochs, seed) for seed in range(seeds)]
        accuracies, spent = [100 * accuracy for accuracy, _ in found], [seconds for _, seconds in found]
        reference = reference or accuracies
        gains = [own - sgd for own, sgd in zip(accuracies, reference, strict=True)]
        chosen = f"{rate:g}{'*' if rate in (rates[0], rates[-1]) else ''}"
        above = "–" if way == "SGD" else _with_error(gains)
        print(
            f"| {epochs} | {way} | {chosen} | {_with_error(accuracies)} | {above} | {statistics.median(spent):.1f} |",
            flush=True,
        )


def _with_error(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {standard_error(values):.2f}"


if __name__ == "__main__":
    main()
