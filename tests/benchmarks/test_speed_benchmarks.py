"""The other benchmarks at the smallest size: the form of what they give, never how long it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import fewer_epochs, growth, larger_than_memory, limits, start_up
from benchmarks.common import spread
from benchmarks.growth_figure import draw
from benchmarks.step_profile import step_profile
from knowledge_transfer.learning.models.architecture import Architecture
from tests.conftest import stripes

CPU = torch.device("cpu")


def test_the_exponent_is_the_slope_of_a_power_law() -> None:
    sizes = [1, 2, 5, 10, 100]
    assert growth.exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx((1.5, 0.0), abs=1e-6)
    slope, error = growth.exponent(sizes, [1.0, 2.2, 4.8, 10.1, 100.0])
    assert abs(slope - 1) < 3 * error


@pytest.mark.parametrize("what", ["images", "members"])
def test_growth_has_seconds_for_every_stage_and_a_figure(what: str, tmp_path: Path) -> None:
    points = {count: growth.Point() for count in (60, 120)} if what == "images" else {2: growth.Point()}
    for count, point in points.items():
        point.add(growth.GROWN[what](count), memory=1000.0 * count)
    stages = next(iter(points.values())).seconds
    assert all(stage.startswith(f"{what}: ") for stage in stages)
    assert any("labelling" in stage for stage in stages)
    assert all(seconds > 0 for point in points.values() for each in point.seconds.values() for seconds in each)
    draw({what: points, "others": points}, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000


def test_a_profile_shares_out_the_whole_step() -> None:
    learner = limits.learner_of("simple_cnn", 8, CPU)
    phases, operators = step_profile(learner, count=2)
    assert list(phases) == ["views", "model, forward", "loss", "model, backward", "optimizer", "rest"]
    assert sum(phases.values()) == pytest.approx(1)
    assert min(phases.values()) >= 0
    assert any("conv" in name for name in operators)


def test_a_table_of_limits_compares_with_the_bare_pass_and_the_product() -> None:
    rates = limits.Rates(
        multiply_adds=10, bare=[100.0, 100.0], steps=[80.0, 90.0], labelling=[200.0], evaluation=[300.0]
    )
    head, _, row = limits.table({"net": rates}, limit=6000.0)
    told = dict(zip(head[:6], row, strict=False))
    assert told["of bare"] == "85% (80% … 90%)"
    # 85 images/s of three passes of 10 multiply-adds are 2,550 of 6,000.
    assert told["of the product"] == "42%"
    assert told["bare, of the product"] == "50%"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for the cache and the peak")
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_mapped_file_is_learnt_from(in_memory: bool, tmp_path: Path) -> None:
    file = tmp_path / "images.safetensors"
    count = larger_than_memory.write(file, 512 * 3072 / 1e9)
    larger_than_memory.forget(file)
    threads = torch.get_num_threads()
    result = larger_than_memory.learn(file, in_memory=in_memory, threads=threads)
    assert count == 512
    assert result["images_per_second"] > 0
    assert result["resident"] > 1e8  # an interpreter with torch in it


def test_a_start_has_its_phases_in_order_and_leaves_the_project_alone(tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime for path in Path("data").rglob("*")}
    times = start_up.first_step(tmp_path)
    assert list(times)[-1] == "first step"
    assert list(times.values()) == sorted(times.values())
    assert {path: path.stat().st_mtime for path in Path("data").rglob("*")} == before
    assert (tmp_path / "data" / "05_model_input").is_dir()


def test_ways_to_learn_are_compared_seed_by_seed(capsys: pytest.CaptureFixture[str]) -> None:
    images = stripes(80, channels=3)
    tiny = Architecture.model_validate({"kind": "cnn", "layers": {"convolutions": [[4], [4]]}})
    setting = fewer_epochs.Setting(tiny, images, images, batch_size=20, device=CPU)
    fewer_epochs._compare(setting, epochs=1, seeds=2)
    rows = [line.split("|")[2].strip() for line in capsys.readouterr().out.splitlines()]
    assert rows == list(fewer_epochs.WAYS)


def test_a_spread_is_median_least_and_most() -> None:
    assert spread([3.0, 1.0, 2000.0]) == "3 (1 … 2,000)"
