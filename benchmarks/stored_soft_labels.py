"""`make benchmark`: VGG19 teaches the simple CNN, from stored soft labels and in the usual loop, in turn.

Both sides see the same images, batch size, augmentation, loss and number of threads; the images are random, since
speed does not depend on what they show. Labelling is measured apart, and its share is counted in the line before the
last: 8 views, labelled once, serve 50 epochs. The last line is the ratio of the two loops' images per second.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.data import DataLoader

from benchmarks.usual_loop import Bare, PilImages, epoch
from knowledge_transfer.learning.checkpoint import Checkpoint, Facts, cpu_state, weights_sha256
from knowledge_transfer.learning.hardware import has_native_bf16
from knowledge_transfer.learning.images import ImageSet
from knowledge_transfer.learning.learner import prepare_lesson
from knowledge_transfer.learning.models import Architecture, Network, build
from knowledge_transfer.learning.recipe import Augmentation, Recipe, Teaching
from knowledge_transfer.learning.soft_labels import label
from knowledge_transfer.learning.training import fit

CPU = torch.device("cpu")
MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
VIEWS, EPOCHS = 8, 50
ALPHA, TEMPERATURE = 0.9, 4.0
AUGMENTATION = Augmentation(crop=4, flip=True)


def random_images(count: int) -> ImageSet:
    """Return images of the size of CIFAR-10's."""
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(count) % 10, tuple("0123456789"))


def network(kind: str, width: float = 1.0) -> Network:
    """Return a fresh network."""
    torch.manual_seed(0)
    architecture = Architecture.model_validate({"kind": kind, "width": width})
    return build(architecture, classes=10, channels=3, image_size=32, mean=MEAN, deviation=DEVIATION)


def as_checkpoint(net: Network, kind: str, width: float = 1.0) -> Checkpoint:
    """Return a network as a teacher."""
    state = cpu_state(net)
    facts = Facts(
        name=kind,
        round=1,
        architecture=Architecture.model_validate({"kind": kind, "width": width}),
        class_names=tuple("0123456789"),
        channels=3,
        image_size=32,
        mean=MEAN,
        deviation=DEVIATION,
        parameters=0,
        seed=0,
        images_sha256="",
        recipe={},
        sha256=weights_sha256(state),
    )
    return Checkpoint(facts, state)


def rate(images: int, work: Callable[[], object]) -> float:
    """Return images per second of one call of `work`."""
    began = time.perf_counter()
    work()
    return images / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5, help="interleaved runs of each side")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--images", type=int, default=2048, help="images an epoch of ours; the usual loop takes a quarter"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ours, theirs = random_images(options.images), random_images(options.images // 4)
    teacher, few = as_checkpoint(network("vgg19"), "vgg19"), random_images(options.images // 2)

    recipe = Recipe(epochs=1, batch_size=128, views=1, augmentation=AUGMENTATION)
    how = {"view_seed": 0, "augmentation": AUGMENTATION, "device": CPU}
    lesson = prepare_lesson(
        label([teacher], ours, views=1, **how), ours, Teaching(alpha=ALPHA, temperature=TEMPERATURE), None
    )
    loader = DataLoader(PilImages(theirs, MEAN, DEVIATION), batch_size=128, shuffle=True)

    def learn() -> None:
        fit(
            network("simple_cnn"),
            ours,
            recipe,
            validation=random_images(128),
            seed=0,
            device=CPU,
            name="cnn",
            lesson=lesson,
        )

    def usual() -> None:
        epoch(Bare(network("simple_cnn")), Bare(teacher.build()), loader, alpha=ALPHA, temperature=TEMPERATURE)

    sides = {
        "learning from stored soft labels": (len(ours), learn),
        "labelling one view": (len(few), lambda: label([teacher], few, views=1, **how)),
        "usual loop": (len(theirs), usual),
    }
    for _, work in sides.values():
        work()  # warm-up
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, (count, work) in sides.items():
            rates[name].append(rate(count, work))

    precision = "bf16" if has_native_bf16(CPU) else "fp32"
    print(f"torch {torch.__version__}, {options.threads} threads, ours in {precision}; VGG19 → simple CNN, batch 128")
    for name, values in rates.items():
        print(f"{name:34s} {statistics.median(values):8.0f} images/s  ({min(values):.0f} … {max(values):.0f})")
    pairs = list(zip(*rates.values(), strict=True))
    learning_only = statistics.median(learning / usual for learning, _, usual in pairs)
    # Seconds per image and epoch: one learning step, and the labelling of 8 views shared by 50 epochs.
    whole = [1 / (1 / learning + VIEWS / EPOCHS / labelling) / usual for learning, labelling, usual in pairs]
    spread = f"{min(whole):.1f} … {max(whole):.1f}"
    print(f"with the labelling of {VIEWS} views over {EPOCHS} epochs: {statistics.median(whole):.1f} ({spread})")
    print(f"ratio: {learning_only:.1f}")


if __name__ == "__main__":
    main()
