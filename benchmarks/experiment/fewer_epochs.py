"""Which optimizer and which flips reach more in as many epochs.

`python -m benchmarks.experiment.fewer_epochs --folder FOLDER`: the folder holds one folder of images per class, such as
CIFAR-10's, or `train` with them. Every way trains on the same images from the same first weights. Its learning rate is
the best of a few by validation with a seed of its own, * at the edge of those tried. The table comes from other seeds:
validation accuracy, and the difference from SGD, pair by pair. Decay is 0.05 for AdamW and Muon, where it is decoupled,
and 0.0005 for SGD.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ours
from benchmarks.common.machine import describe
from benchmarks.common.process import options
from benchmarks.common.text import with_error
from knowledge_transfer.datasets.sources import image_folder

_TUNING_SEED = 1000
_FLIP: dict[str, Any] = {"augmentation": {"crop": 4, "flip": True}}
_ALTERNATING: dict[str, Any] = {"augmentation": {"crop": 4, "flip": "alternating"}}
_MUON = {"optimizer": "muon", "weight_decay": 0.05}
# The settings of each way, and the learning rates from which validation chooses.
WAYS: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    "SGD": (_FLIP, (0.05, 0.1, 0.2, 0.4)),
    "SGD, alternating flip": (_ALTERNATING, (0.05, 0.1, 0.2, 0.4)),
    "AdamW": ({"optimizer": "adamw", "weight_decay": 0.05, **_FLIP}, (0.003, 0.006, 0.012, 0.024)),
    "Muon": ({**_MUON, **_FLIP}, (0.006, 0.012, 0.024, 0.048)),
    "Muon, alternating flip": ({**_MUON, **_ALTERNATING}, (0.006, 0.012, 0.024, 0.048)),
}


@dataclass(frozen=True)
class Setting:
    """What all ways share."""

    architecture: ours.Architecture
    images: ours.ImageSet
    validation: ours.ImageSet
    batch_size: int
    device: torch.device

    def accuracy(self, way: str, rate: float, epochs: int, seed: int) -> tuple[float, float]:
        """Return validation accuracy in [0, 1] after the last epoch, and the seconds of the fit."""
        recipe = ours.Recipe(epochs=epochs, batch_size=self.batch_size, learning_rate=rate, **WAYS[way][0])
        mean, deviation = self.images.statistics()
        how = {"normalisation": ours.Normalisation(mean=mean, deviation=deviation), "seed": seed, "device": self.device}
        began = time.perf_counter()
        learned = ours.learn("a", self.architecture, self.images, recipe, validation=self.validation, **how)
        return learned.curve[-1]["validation_accuracy"], time.perf_counter() - began


def compare(setting: Setting, epochs: int, seeds: int) -> Iterator[str]:
    """Yield the line of each way after it has trained with all rates and seeds."""
    reference: list[float] = []
    for way, (_, rates) in WAYS.items():
        rate = max(rates, key=lambda each: setting.accuracy(way, each, epochs, _TUNING_SEED)[0])
        found = [setting.accuracy(way, rate, epochs, seed) for seed in range(seeds)]
        accuracies = [100 * accuracy for accuracy, _ in found]
        reference = reference or accuracies
        above = with_error([own - sgd for own, sgd in zip(accuracies, reference, strict=True)])
        chosen = f"{rate:g}{'*' if rate in (rates[0], rates[-1]) else ''}"
        seconds = statistics.median(spent for _, spent in found)
        shown = (epochs, way, chosen, with_error(accuracies), "–" if way == "SGD" else above, f"{seconds:.1f}")
        yield f"| {' | '.join(map(str, shown))} |"


if __name__ == "__main__":
    defaults: dict[str, Any] = {"model": "resnet8", "width": 1.0, "images": 4000, "validation": 2000, "batch_size": 128}
    args = options(__doc__, folder=Path(), **defaults, epochs=[4, 8], seeds=5, device="auto")
    device = ours.resolve_device(args.device)
    images = image_folder.read(args.folder, "train", 32)
    some = images.subset(ours.stratified_indices(images.labels, args.images + args.validation, seed=0))
    training, validation = ours.split(some, args.validation / len(some), seed=0)
    setting = Setting(ours.architecture(args.model, args.width), training, validation, args.batch_size, device)
    print(f"{describe(device)}; {setting.architecture}, {len(training)} images, {len(validation)} to validate\n")
    print("| epochs | way | rate | accuracy, % | above SGD, points | s |\n|---|---|---|---|---|---|")
    for epochs in args.epochs:
        for line in compare(setting, epochs, args.seeds):
            print(line, flush=True)
