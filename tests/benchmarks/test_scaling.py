"""The other benchmarks at the smallest size: the form of what they return, never how long it takes."""

from pathlib import Path

import pytest
import torch

from benchmarks.common import ours
from benchmarks.common.process import in_a_process
from benchmarks.common.text import spread
from benchmarks.experiment import fewer_epochs, start_up
from benchmarks.scaling import growth, larger_than_memory
from benchmarks.scaling.growth_figure import draw
from benchmarks.speed.limits import step_profile
from tests.conftest import stripes


def test_the_exponent_is_a_power_laws_slope() -> None:
    sizes = [1, 2, 5, 10, 100]
    assert growth.exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx((1.5, 0.0), abs=1e-6)
    slope, error = growth.exponent(sizes, [1.0, 2.2, 4.8, 10.1, 100.0])
    assert abs(slope - 1) < 3 * error


@pytest.mark.parametrize("what", ["images", "members"])
def test_growth_has_every_stage_and_a_figure(what: str, tmp_path: Path) -> None:
    points = {count: growth.Point() for count in (60, 120)} if what == "images" else {2: growth.Point()}
    for count, point in points.items():
        point.add(growth.GROWN[what](count), memory=1000.0 * count)
    stages = next(iter(points.values())).seconds
    assert all(stage.startswith(f"{what}: ") for stage in stages)
    assert any("labelling" in stage for stage in stages)
    assert all(seconds > 0 for point in points.values() for each in point.seconds.values() for seconds in each)
    assert [line.split(" | ")[0][2:] for line in growth.lines(what, points)][2:] == [*stages, "peak memory, kB"]
    draw({what: points, "others": points}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000


def test_the_phases_are_the_whole_step() -> None:
    trainer = ours.distilling_trainer(ours.architecture("simple_cnn"), 8, 8, ours.CPU)
    profile = step_profile(trainer, count=2)
    assert list(profile["phases"]) == ["views", "model, forward", "loss", "model, backward", "optimizer", "rest"]
    assert sum(profile["phases"].values()) == pytest.approx(1)
    assert min(profile["phases"].values()) >= 0
    assert any("conv" in name for name in profile["top"])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the cache and the peak from Linux")
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_network_learns_from_a_mapped_file(in_memory: bool, tmp_path: Path) -> None:
    file = tmp_path / "images.safetensors"
    count = larger_than_memory.write(file, 512 * 3072 / 1e9)
    larger_than_memory.forget(file)
    result = larger_than_memory.train(str(file), in_memory=in_memory)
    assert count == 512
    assert result["images_per_second"] > 0
    assert result["resident"] > 1e8  # an interpreter with torch in it


def test_a_process_returns_json_or_its_errors() -> None:
    assert in_a_process(spread, threads=1, values=[1.0], digits=1) == "1.0 (1.0 … 1.0)"
    with pytest.raises(SystemExit, match=r"(?s)spread failed with .*StatisticsError"):
        in_a_process(spread, threads=1, values=[])


@pytest.mark.slow
def test_a_start_has_its_phases_in_order(tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime for path in Path("data").rglob("*")}
    times = start_up.first_step(tmp_path)
    assert list(times)[-1] == "first step"
    assert list(times.values()) == sorted(times.values())
    assert {path: path.stat().st_mtime for path in Path("data").rglob("*")} == before
    assert (tmp_path / "data" / "05_model_input").is_dir()


def test_recipes_before_and_now_stand_in_a_line() -> None:
    images = stripes(80, channels=3)
    tiny = ours.architecture("vgg19", 1 / 32)
    before, now = (ours.Recipe(epochs=epochs, batch_size=20) for epochs in (2, 1))
    model = fewer_epochs.Model("vgg19", tiny, before, now, images)
    cells = fewer_epochs.compare(model, images, range(2), torch.device("cpu"))
    assert len(cells) == len(fewer_epochs.HEAD)
    assert (cells[0], cells[1], cells[4]) == ("vgg19", "2", "1")


def test_recipes_are_those_of_the_small_experiment() -> None:
    models = list(fewer_epochs.models(stripes(400, classes=10, channels=3), 300))
    assert [(model.name, len(model.images)) for model in models] == [
        *((name, 189) for name in ("simple_cnn", "resnet8", "resnet50", "squeezenet")),
        ("vgg19", 90),
    ]
    assert all(model.now.epochs <= model.before.epochs for model in models)


def test_an_accuracy_is_reached_where_it_first_is() -> None:
    fitted = fewer_epochs.Fitted([40.0, 60.0, 50.0], [1.0, 2.0, 3.0])
    assert [fitted.seconds_to(goal) for goal in (40, 50, 61)] == [1.0, 2.0, None]


def test_a_spread_is_median_least_and_most() -> None:
    assert spread([3.0, 1.0, 2000.0]) == "3 (1 … 2,000)"
