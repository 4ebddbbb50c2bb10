"""Traffic signs in the published layout, small, and with what goes wrong in it."""

import shutil
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from PIL import Image

from knowledge_transfer.datasets.sources import gtsrb


def unreachable(*_: Any, **__: Any) -> None:
    raise URLError("no network")


def sign(file: Path, red: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 44), (red, 0, 0)).save(file)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tracks of two frames in each of 43 classes, the class as the red channel; five test images."""
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr(gtsrb, "IMAGES", {"train": 172, "test": 5})
    training, test = tmp_path / "gtsrb/GTSRB/Training", tmp_path / "gtsrb/GTSRB/Final_Test/Images"
    for number in range(43):
        for track in range(2):
            for frame in range(2):
                sign(training / f"{number:05d}" / f"{track:05d}_{frame:05d}.ppm", number)
        (training / f"{number:05d}" / f"GT-{number:05d}.csv").write_text("Filename;Width\n")
    (training / "Readme.txt").write_text("signs")
    classes = [16, 1, 38, 33, 0]
    for k, number in enumerate(classes):
        sign(test / f"{k:05d}.ppm", number)
    rows = [f"{k:05d}.ppm;53;54;6;5;48;49;{number}" for k, number in enumerate(classes)]
    header = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
    (tmp_path / "gtsrb/GT-final_test.csv").write_text("\n".join([header, *rows]))
    return tmp_path


def test_training_labels_are_folders_and_tracks_groups(root: Path) -> None:
    images = gtsrb.read(root, "train", 32)
    assert images.images.shape == (172, 3, 32, 32)
    assert images.class_names == tuple(f"{number:05d}" for number in range(43))
    assert images.labels.tolist() == images.images[:, 0, 16, 16].tolist()
    assert images.groups is not None
    assert images.groups.tolist() == [k // 2 for k in range(172)]  # equal track numbers of two classes are two tracks


def test_test_labels_are_those_of_the_table(root: Path) -> None:
    images = gtsrb.read(root, "test", 32)
    assert images.labels.tolist() == images.images[:, 0, 16, 16].tolist() == [16, 1, 38, 33, 0]
    assert images.groups is None
    assert len(images.class_names) == 43


def test_a_missing_class_folder_shifts_no_label(root: Path) -> None:
    shutil.rmtree(root / "gtsrb/GTSRB/Training/00007")
    with pytest.raises(ValueError, match=r"Training lacks, or has too much, the class folders \['00007'\]"):
        gtsrb.read(root, "train", 32)


def test_an_additional_class_folder_is_refused(root: Path) -> None:
    sign(root / "gtsrb/GTSRB/Training/00043/00000_00000.ppm", 43)
    with pytest.raises(ValueError, match=r"has too much, the class folders \['00043'\]"):
        gtsrb.read(root, "train", 32)


def test_an_unpacking_cut_short_is_noticed(root: Path) -> None:
    (root / "gtsrb/GTSRB/Training/00042/00001_00001.ppm").unlink()
    with pytest.raises(ValueError, match=r"Training holds 171 images, 172 were published: delete that folder and run"):
        gtsrb.read(root, "train", 32)
    (root / "gtsrb/GTSRB/Final_Test/Images/00003.ppm").unlink()
    with pytest.raises(ValueError, match=r"cannot read the image .*00003\.ppm"):
        gtsrb.read(root, "test", 32)


def test_a_missing_or_wrong_table_is_named(root: Path) -> None:
    table = root / "gtsrb/GT-final_test.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]))
    with pytest.raises(ValueError, match="holds 4 images, 5 were published"):
        gtsrb.read(root, "test", 32)
    for text in ("Filename,ClassId\n00000.ppm,3", "Filename;ClassId\n00000.ppm;stop"):
        table.write_text(text)
        with pytest.raises(ValueError, match=r"GT-final_test\.csv is not the published table of test labels"):
            gtsrb.read(root, "test", 32)
    table.unlink()
    with pytest.raises(ValueError, match=r"GT-final_test\.csv, the labels of the test images, is missing: delete"):
        gtsrb.read(root, "test", 32)


def test_a_label_outside_the_classes_is_refused(root: Path) -> None:
    table = root / "gtsrb/GT-final_test.csv"
    table.write_text(table.read_text().replace(";38", ";77"))
    with pytest.raises(ValueError, match="label 77 is outside the 43 classes"):
        gtsrb.read(root, "test", 32)


def test_missing_files_say_where_to_put_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    for part in ("train", "test"):
        with pytest.raises(
            ValueError, match=r"put GTSRB-Training_fixed\.zip, .* into .*/gtsrb yourself, or run `make run"
        ):
            gtsrb.read(tmp_path, part, 32)
