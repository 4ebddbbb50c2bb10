"""What several tests need: one thread, and image sets small enough to look at."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import pytest
import torch
from filelock import FileLock

from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.tracking.server import Server
from tests.project import EVERY_ARM, Project

torch.set_num_threads(1)


def stripes(count: int, *, classes: int = 3, size: int = 32, channels: int = 1, seed: int = 0) -> ImageSet:
    """Noisy images, all different, whose brightness depends on the class: learnable in a few steps."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    noise = torch.randint(0, 40, (count, channels, size, size), generator=generator)
    level = (labels * (200 // max(1, classes - 1))).view(-1, 1, 1, 1)
    return ImageSet((noise + level).to(torch.uint8), labels, tuple(f"class {k}" for k in range(classes)))


def two_domains(digits: int = 30, signs: int = 20) -> dict[str, ImageSet]:
    """Two domains of unequal size that are easy to tell apart: grey stripes, and coloured ones behind bars."""
    barred = stripes(signs, classes=2, channels=3, seed=1)
    barred.images[..., ::2] = 255
    return {"digits": stripes(digits), "signs": barred}


@pytest.fixture
def images() -> ImageSet:
    return stripes(60)


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """What makes a folder of that name in one of the test processes, and waits for it in the others."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder = shared / name
        with FileLock(f"{folder}.lock"):
            if not (shared / f"{name}.done").exists():
                folder.mkdir()
                make(folder)
                (shared / f"{name}.done").touch()
        return folder

    return once


@pytest.fixture(scope="session")
def empty_store(make_once) -> Path:
    """A database that a first run has made: MLflow takes seconds for that."""

    def create(folder: Path) -> None:
        Server(f"sqlite:///{folder}/mlflow.db").send("create the tables", lambda client: None)

    return make_once("store", create) / "mlflow.db"


@pytest.fixture(scope="session")
def run_once(make_once, empty_store: Path) -> Callable[[str, Callable[[Project], None]], Project]:
    """What runs a project called `name` in one of the test processes, and waits for it in the others."""

    def once(name: str, run: Callable[[Project], None]) -> Project:
        def make(folder: Path) -> None:
            shutil.copy(empty_store, folder)
            run(Project(folder))

        return Project.at(make_once(name, make))

    return once


@pytest.fixture(scope="session")
def finished_project(run_once) -> Project:
    """A project in which the whole experiment has been run once, with every reference arm."""
    return run_once("finished_project", lambda project: project.run(EVERY_ARM, tracked=True))
