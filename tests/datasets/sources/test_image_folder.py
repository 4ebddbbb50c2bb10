"""A user's own folder, as folders are."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from knowledge_transfer.datasets.sources import image_folder


def fill(folder: Path, count: int = 5, *, mode: str = "L", base: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        shade = base + k
        Image.new(mode, (30 + k, 40), shade if mode == "L" else (shade, 0, shade)).save(folder / f"{k:03d}.png")


def shades(root: Path, part: str) -> dict[str, list[int]]:
    images = image_folder.read(root, part, 32)
    return {
        name: images.images[images.labels == label][:, 0, 16, 16].tolist()
        for label, name in enumerate(images.class_names)
    }


def test_the_test_set_is_a_fifth(tmp_path: Path) -> None:
    fill(tmp_path / "dog", 20, base=100)
    fill(tmp_path / "cat", 10)
    training, test = shades(tmp_path, "train"), shades(tmp_path, "test")
    assert {name: len(found) for name, found in test.items()} == {"cat": 2, "dog": 4}
    assert sorted(training["cat"] + test["cat"]) == list(range(10))
    assert sorted(training["dog"] + test["dog"]) == list(range(100, 120))
    torch.manual_seed(7)
    assert shades(tmp_path, "test") == test


def test_given_parts_are_kept(tmp_path: Path) -> None:
    for part, base in (("train", 0), ("test", 50)):
        fill(tmp_path / part / "a", 3, base=base)
        fill(tmp_path / part / "b", 2, base=base + 100)
    assert shades(tmp_path, "train") == {"a": [0, 1, 2], "b": [100, 101]}
    assert shades(tmp_path, "test") == {"a": [50, 51, 52], "b": [150, 151]}


def test_class_names_are_folder_names_sorted(tmp_path: Path) -> None:
    for number in range(12):
        fill(tmp_path / str(number), base=10 * number)
    images = image_folder.read(tmp_path, "train", 32)
    assert images.class_names == ("0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9")
    assert images.labels.bincount().tolist() == [4] * 12
    assert shades(tmp_path, "train")["11"][0] // 10 == 11


def test_folders_inside_a_class_belong_to_it(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "spring", base=0)
    fill(tmp_path / "a" / "autumn" / "late", base=10)
    fill(tmp_path / "b", base=50)
    assert len(shades(tmp_path, "train")["a"]) == 8


def test_hidden_and_foreign_files_are_ignored(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    fill(tmp_path / "b", base=50)
    fill(tmp_path / ".thumbnails")
    fill(tmp_path / "a" / ".cache")
    (tmp_path / "a" / "folder.png").mkdir()
    for name in (".DS_Store", "Thumbs.db", "._000.png", "notes.txt", "desktop.ini"):
        (tmp_path / "a" / name).write_bytes(b"not an image")
        (tmp_path / name).write_bytes(b"not an image")
    (tmp_path / "b" / "000.png").rename(tmp_path / "b" / "000.PNG")
    assert {name: len(found) for name, found in shades(tmp_path, "train").items()} == {"a": 4, "b": 4}


def test_one_coloured_image_makes_three_channels(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    fill(tmp_path / "b", base=50)
    assert image_folder.read(tmp_path, "train", 32).images.shape == (8, 1, 32, 32)
    fill(tmp_path / "b", 1, mode="RGB", base=50)
    assert image_folder.read(tmp_path, "train", 32).images.shape == (8, 3, 32, 32)


@pytest.mark.parametrize("coloured", ["train", "test"])
def test_both_parts_have_the_same_channels(tmp_path: Path, coloured: str) -> None:
    for part in ("train", "test"):
        fill(tmp_path / part / "a")
        fill(tmp_path / part / "b", mode="RGB" if part == coloured else "L")
    for part in ("train", "test"):
        assert image_folder.read(tmp_path, part, 32).images.shape == (10, 3, 32, 32)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "ship", base=50)
    assert image_folder.read(tmp_path, "train", 32).class_names == ("ship", "train")


def test_one_part_alone_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "a")
    fill(tmp_path / "val" / "a")
    with pytest.raises(ValueError, match="holds train but not train and test: add the other, or put the classes in"):
        image_folder.read(tmp_path, "train", 32)


def test_parts_with_different_classes_are_refused(tmp_path: Path) -> None:
    for part, classes in (("train", "ab"), ("test", "ac")):
        for name in classes:
            fill(tmp_path / part / name)
    with pytest.raises(ValueError, match=r"different class folders: \['b', 'c'\]"):
        image_folder.read(tmp_path, "train", 32)


def test_folders_without_images_or_classes_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"no folder .*nowhere: set data\.path, or the domain's path, to a folder that holds one folder per",
    ):
        image_folder.read(tmp_path / "nowhere", "train", 32)
    fill(tmp_path / "a")
    with pytest.raises(ValueError, match="holds 1 class folders: a classifier needs at least two"):
        image_folder.read(tmp_path, "train", 32)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("none")
    with pytest.raises(ValueError, match=r"class folder .*/b holds no images \(.*\.png"):
        image_folder.read(tmp_path, "train", 32)


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    fill(tmp_path / "b")
    (tmp_path / "b" / "003.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"cannot read the image .*/b/003\.png"):
        image_folder.read(tmp_path, "train", 32)


def test_a_class_too_small_to_cut_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "a")
    fill(tmp_path / "b", 1, base=50)
    with pytest.raises(ValueError, match="class 'b' has 1 separable images"):
        image_folder.read(tmp_path, "train", 32)
