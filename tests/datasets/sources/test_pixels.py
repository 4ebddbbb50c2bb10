"""Image files as people have them: every depth, palette, transparency and orientation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from knowledge_transfer.datasets.sources.pixels import is_grey, read_files


def save(file: Path, image: Image.Image, **how: object) -> Path:
    image.save(file, **how)
    return file


def colour(size: tuple[int, int] = (32, 32), value: tuple[int, int, int] = (200, 100, 50)) -> Image.Image:
    return Image.new("RGB", size, value)


def middle(file: Path, *, grey: bool) -> list[int]:
    return read_files([file], grey=grey, size=32)[0, :, 16, 16].tolist()


def test_shape_type_and_order(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{k}.png", Image.new("L", (20 + k, 50), k)) for k in range(40)]
    images = read_files(files, grey=True, size=32)
    assert images.shape == (40, 1, 32, 32)
    assert images.dtype == torch.uint8
    assert images[:, 0, 16, 16].tolist() == list(range(40))
    assert read_files(files, grey=False, size=32).shape == (40, 3, 32, 32)


def test_images_of_the_right_size_are_not_touched(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    file = save(tmp_path / "a.png", Image.fromarray(noise))
    assert torch.equal(read_files([file], grey=False, size=32)[0], torch.from_numpy(noise).permute(2, 0, 1))


@pytest.mark.parametrize("size", [(300, 100), (100, 300)])
def test_the_middle_square_is_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    image = Image.new("L", size, 255)
    box = ((size[0] - 100) // 2, (size[1] - 100) // 2)
    image.paste(0, (*box, box[0] + 100, box[1] + 100))
    square = read_files([save(tmp_path / "a.png", image)], grey=True, size=32)[0, 0]
    assert square[1:-1, 1:-1].max() == 0  # at its very edge the filter sees a neighbour


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_cut_to_white(tmp_path: Path, suffix: str) -> None:
    ramp = np.repeat(np.linspace(0, 65535, 32).round().astype(np.uint16)[None], 32, axis=0)
    file = save(tmp_path / f"a.{suffix}", Image.fromarray(ramp))
    assert is_grey(file)
    seen = read_files([file], grey=True, size=32)[0, 0, 0]
    assert seen.tolist() == np.linspace(0, 255, 32).round().tolist()
    assert torch.equal(read_files([file], grey=False, size=32)[0, 2, 0], seen)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((32, 32), 0.5, dtype=np.float32), "fractions of no agreed range"),
        (np.full((32, 32), 70_000, dtype=np.int32), "more than 16 bits"),
        (np.full((32, 32), -1, dtype=np.int32), "more than 16 bits"),
    ],
)
def test_depths_without_a_known_white_are_refused(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    file = save(tmp_path / "a.tif", Image.fromarray(pixels))
    with pytest.raises(ValueError, match=rf"cannot read the image .*a\.tif: .*{message}"):
        read_files([file], grey=True, size=32)


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", colour().quantize(4))
    assert not is_grey(file)
    assert middle(file, grey=False) == [200, 100, 50]


def test_black_and_white_is_grey(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", Image.new("1", (32, 32), 1))
    assert is_grey(file)
    assert middle(file, grey=True) == [255]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    file = save(tmp_path / "a.tif", Image.new("CMYK", (32, 32), (0, 255, 255, 0)))
    assert not is_grey(file)
    assert middle(file, grey=False) == [255, 0, 0]


@pytest.mark.parametrize(
    ("image", "how", "seen"),
    [
        (Image.new("RGBA", (32, 32), (10, 20, 30, 0)), {}, [255, 255, 255]),
        (Image.new("RGBA", (32, 32), (0, 0, 200, 128)), {}, [127, 127, 227]),
        (Image.new("LA", (32, 32), (0, 0)), {}, [255]),
        (Image.new("L", (32, 32), 7), {"transparency": 7}, [255]),
        (Image.new("L", (32, 32), 9), {"transparency": 7}, [9]),
        (colour().quantize(4), {"transparency": 0}, [255, 255, 255]),
    ],
)
def test_transparent_is_white(tmp_path: Path, image: Image.Image, how: dict[str, int], seen: list[int]) -> None:
    file = save(tmp_path / "a.png", image, **how)
    assert is_grey(file) == (len(seen) == 1)
    assert middle(file, grey=len(seen) == 1) == pytest.approx(seen, abs=1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_photographs_are_turned_upright(tmp_path: Path, suffix: str) -> None:
    lying = Image.new("L", (320, 320), 0)
    lying.paste(255, (0, 0, 160, 320))  # bright on the left; turned by 90° clockwise, bright on top
    exif = Image.Exif()
    exif[274] = 6
    image = read_files([save(tmp_path / f"a.{suffix}", lying, exif=exif)], grey=True, size=32)[0, 0]
    assert image[4].min() > 240
    assert image[-4].max() < 15


def test_large_photographs_keep_their_colours(tmp_path: Path) -> None:
    photograph = colour((4000, 3000))
    photograph.paste((0, 0, 255), (2000, 0, 4000, 3000))
    image = read_files([save(tmp_path / "a.jpg", photograph, quality=95)], grey=False, size=32)[0]
    assert image[:, 16, 4].tolist() == pytest.approx([200, 100, 50], abs=3)
    assert image[:, 16, -4].tolist() == pytest.approx([0, 0, 255], abs=3)


def test_photographs_are_not_decoded_too_small(tmp_path: Path) -> None:
    stripes = np.repeat(np.tile([0, 0, 0, 0, 255, 255, 255, 255], 16)[None], 128, axis=0).astype(np.uint8)
    image = read_files([save(tmp_path / "a.jpg", Image.fromarray(stripes), quality=95)], grey=True, size=32)
    assert image.float().std() > 60


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    good = save(tmp_path / "good.png", noise)
    for content in (b"", b"no image", good.read_bytes()[:2000]):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot read the image .*bad\.png: .*; repair or remove it"):
            read_files([good, tmp_path / "bad.png"], grey=False, size=32)
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"cannot read the image .*bad\.png"):
        is_grey(tmp_path / "bad.png")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp", "ppm"])
def test_damage_of_any_kind_names_the_file(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    file = save(tmp_path / f"a.{suffix}", Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)))
    data = np.frombuffer(file.read_bytes(), dtype=np.uint8)
    for _ in range(60):
        broken = data[: rng.integers(1, len(data) + 1)].copy()
        broken[rng.integers(0, min(len(broken), 64), 2)] = rng.integers(0, 256, 2)
        file.write_bytes(broken.tobytes())
        try:
            read_files([file], grey=False, size=32)
        except ValueError as error:
            assert str(file) in str(error)  # noqa: PT017 - much damage is readable


def test_a_bomb_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "a.png", colour((64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"cannot read the image .*a\.png: .*decompression bomb"):
        read_files([file], grey=False, size=32)
