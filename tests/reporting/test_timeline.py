"""Where the time went, on timelines of which it is known."""

import re

import pytest
from matplotlib.patches import Rectangle

from knowledge_transfer.reporting.gantt import draw_timeline, measure_device_use
from knowledge_transfer.reporting.style import inline_svg
from knowledge_transfer.reporting.timeline import attempts_of, lanes_of
from knowledge_transfer.reporting.timeline_bars import Bar, key_of
from knowledge_transfer.reporting.timeline_words import told

BEGAN = 1_764_070_000.0


def row(node, started, ended, *places, status="finished", attempt=1):
    model = re.fullmatch(r".*\.(?:train|distil)_(.+?)(?:_round\d)?", node)
    return {
        "node": node, "model": model and model[1], "places": list(places) or ["cpu"],
        "started": BEGAN + started, "ended": None if ended is None else BEGAN + ended,
        "status": status, "attempt": attempt,
    }  # fmt: skip


def timeline(*nodes, places=("cpu",)):
    return {"began": BEGAN, "places": list(places), "nodes": list(nodes)}


ONE_BY_ONE = timeline(
    row("data_preparation.cut_published_images", 0, 10),
    row("student_training.train_cnn", 10, 40),
    row("target_distillation.distil_big_round1", 50, 100),
    row("evaluation.draw_timeline", 100, None, status="running"),
)
SIDE_BY_SIDE = timeline(
    row("data_preparation.cut_published_images", 0, 10),
    row("student_training.train_cnn", 10, 40, "cuda:0", status="killed"),
    row("student_training.train_tiny", 10, 60, "cuda:1"),
    row("student_training.train_odd", 30, 70, "cuda:1"),
    row("student_training.train_cnn", 50, 70, "cuda:0", attempt=2),
    row("round_1.target_distillation.distil_big_round1", 100, 200, "cuda:0", "cuda:1"),
    places=("cuda:0", "cuda:1", "cuda:2"),
)
EMPTY = timeline()


def used(which):
    return measure_device_use(which).set_index("place").T.to_dict("list")


def drawn(which):
    """Return the corners of the bars, in seconds and lanes, and all texts in and beside them."""
    (axes,) = draw_timeline(which).axes
    bars = [each for each in axes.patches if isinstance(each, Rectangle) and each.get_zorder() == 2]
    return bars, [text.get_text().replace("\n", "") for text in axes.texts]


def test_a_place_is_in_use_while_a_node_runs_there_however_many():
    assert used(SIDE_BY_SIDE) == {
        "cuda:0": [2, 150, 0.75],  # a killed attempt used the device, too
        "cuda:1": [3, 160, 0.8],
        "cuda:2": [0, 0, 0],
        "cpu": [1, 10, 0.05],
    }
    assert used(ONE_BY_ONE) == {"cpu": [3, 90, 0.9]}


def test_what_still_runs_is_left_out():
    assert [attempt.name for attempt in attempts_of(ONE_BY_ONE)][-1] == "distil_big_round1"


def test_before_any_node_has_ended_nothing_is_in_use():
    assert used(EMPTY) == {"cpu": [0, 0, 0]}
    assert measure_device_use(EMPTY).columns.tolist() == ["place", "nodes", "busy_seconds", "share"]
    assert told(EMPTY) == {}
    assert draw_timeline(EMPTY).axes[0].texts[0].get_text() == "no node has ended yet"


@pytest.mark.parametrize(
    ("times", "lanes"),
    [
        ([(0, 1), (1, 2), (2, 3)], [0, 0, 0]),
        ([(0, 3), (1, 2), (2, 4)], [0, 1, 1]),
        ([(0, 9), (1, 9), (2, 3), (3, 9)], [0, 1, 2, 2]),
    ],
)
def test_nodes_that_share_a_place_have_lanes_of_their_own(times, lanes):
    nodes = [row(f"stage.node_{number}", *each) for number, each in enumerate(times)]
    assert lanes_of(attempts_of(timeline(*nodes))) == lanes


def test_a_node_on_several_devices_is_a_bar_on_each():
    bars, texts = drawn(SIDE_BY_SIDE)
    assert len(bars) == 7
    assert sum(bar.get_x() == 100 for bar in bars) == 2
    assert texts.count("big") == 2
    assert {"75%", "80%", "0%", "5%"} <= set(texts)


def test_bars_of_one_place_do_not_overlap():
    bars, _ = drawn(SIDE_BY_SIDE)
    boxes = [bar.get_bbox() for bar in bars]
    assert not [(a, b) for a in boxes for b in boxes if a is not b and a.overlaps(b)]


def test_what_did_not_finish_is_hatched():
    bars, texts = drawn(SIDE_BY_SIDE)
    assert [bar.get_x() for bar in bars if bar.get_hatch()] == [10]
    assert "cnn, killed" in texts
    assert [patch.get_label() for patch in key_of(attempts_of(SIDE_BY_SIDE), 1, "s")] == [
        "data preparation, 10.0 s", "student training, 140.0 s", "target distillation, 100.0 s", "killed",
    ]  # fmt: skip


def test_a_round_and_an_arm_have_the_colour_of_their_stage():
    names = ("target_distillation.a", "round_2.target_distillation.b", "evaluation.c", "reference_arms.d")
    attempts = attempts_of(timeline(*(row(name, 0, 1) for name in names)))
    first, second, third, fourth = (Bar(attempt, 0, 1).colour for attempt in attempts)
    assert first == second
    assert len({first, third, fourth}) == 3


def test_no_name_is_written_over_another_or_out_of_the_rows():
    """Forty nodes of all lengths, with names of all lengths, on two devices."""
    nodes = [
        row(f"evaluation.{'long_' * (k % 5)}name{k}", start, start + k % 7 + 0.1, f"cuda:{k % 2}")
        for k, start in enumerate(7 * (k // 2) for k in range(40))
    ]
    figure = draw_timeline(timeline(*nodes, places=("cuda:0", "cuda:1")))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    names = [text for text in axes.texts if "name" in text.get_text()]
    boxes = [text.get_window_extent() for text in names]
    assert len(names) > 5
    assert not [(a, b) for a in boxes for b in boxes if a is not b and a.overlaps(b)]
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)


@pytest.mark.parametrize("which", [ONE_BY_ONE, SIDE_BY_SIDE, EMPTY])
def test_the_figure_is_the_same_svg_each_time(which):
    assert inline_svg(draw_timeline(which), "timeline") == inline_svg(draw_timeline(which), "timeline")


def test_one_after_another_or_side_by_side_is_told():
    assert told(ONE_BY_ONE)["sentences"] == ["3 nodes ran one after another on cpu, in 100.0 seconds."]
    first, second = told(SIDE_BY_SIDE)["sentences"]
    assert first == (
        "5 nodes ran side by side, up to 3 at once, on cuda:0, cuda:1 and cpu: "
        "their times add up to 4.2 minutes, the run took 3.3 minutes."
    )
    assert second == "train_cnn was killed once and tried again."
    assert told(timeline(row("stage.only", 0, 4)))["sentences"] == ["One node ran, on cpu, in 4.0 seconds."]


def test_every_node_that_did_not_finish_at_once_is_named():
    again = told(
        timeline(
            row("stage.twice", 0, 1, status="killed"),
            row("stage.twice", 1, 2, status="killed", attempt=2),
            row("stage.twice", 2, 3, attempt=3),
            row("stage.never", 3, 4, status="failed"),
            row("stage.mended", 4, 5, status="failed"),
            row("stage.mended", 5, 6, attempt=2),
        )
    )
    assert again["sentences"][1:] == [
        "twice was killed twice and tried again.",
        "never failed once.",
        "mended failed once and was tried again.",
    ]


def test_the_slowest_are_told_with_place_and_share():
    slowest = told(SIDE_BY_SIDE)["slowest"]
    assert [each["time"] for each in slowest] == ["1.7", "0.8", "0.7", "0.5", "0.3", "0.2"]
    assert (slowest[0]["places"], slowest[0]["share"]) == ("cuda:0, cuda:1", 0.5)
    assert [each["node"] for each in slowest if each["remark"] == "killed"] == ["student_training.train_cnn"]
