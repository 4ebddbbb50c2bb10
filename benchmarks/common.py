"""What the benchmarks share: random images, full-size networks, and how a figure is printed."""

from __future__ import annotations

import math
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
import torchvision

from knowledge_transfer.learning.checkpoint import Checkpoint, Facts
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.hardware import has_native_bf16
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import Network, build
from knowledge_transfer.learning.models.weights import cpu_state, weights_sha256

MEAN, DEVIATION = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
ALPHA, TEMPERATURE = 0.9, 4.0  # of the soft loss, as `DistillationConfig` has them
VIEWS, EPOCHS = 8, 50  # the ratio in which labelling is shared out among epochs
AUGMENTATION = Augmentation(crop=4, flip=True)


def random_images(count: int) -> ImageSet:
    """Return images of the size of CIFAR-10's; speed does not depend on what they show."""
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


def machine(device: torch.device) -> str:
    """Return what a figure depends on, in a line: processor, threads, versions, precision."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    precision = "bf16" if has_native_bf16(device) else "fp32"
    return (
        f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"Python {platform.python_version()}, {precision}"
    )


def processor() -> str:
    """Return the processor's name."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def spread(values: Iterable[float], digits: int = 0) -> str:
    """Return median (least … most)."""
    values = list(values)
    middle, least, most = (f"{each:,.{digits}f}" for each in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least} … {most})"


def shares(parts: Mapping[str, float]) -> str:
    """Return what each part takes of the whole, in per cent."""
    return ", ".join(f"{name} {share:.1%}" for name, share in parts.items())


def resident_peak(process: int | str = "self", *, reset: bool = False) -> float:
    """Return the most memory in bytes that a process has held so far; with `reset`, count anew from what it holds.

    Not a number where there is no Linux to ask.
    """
    about = Path(f"/proc/{process}")
    if not (about / "status").exists():
        return math.nan
    if reset:
        (about / "clear_refs").write_text("5", encoding="ascii")
    lines = (about / "status").read_text(encoding="utf-8").splitlines()
    return float(next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")))


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean; not a number for a single value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
