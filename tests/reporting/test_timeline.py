"""Where the time went, on timelines of which it is known."""

import re

import pytest
from matplotlib.patches import Rectangle

from knowledge_transfer.reporting import gantt
from knowledge_transfer.reporting.gantt import draw_timeline, legend_of
from knowledge_transfer.reporting.style import inline_svg
from knowledge_transfer.reporting.timeline import attempts_of, measure_device_use, most_at_once, sentences

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
    """Return the bars, the names of the rows and, at the right, where their nodes ran."""
    figure = draw_timeline(which)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    bars = [each for each in axes.patches if isinstance(each, Rectangle)]
    names, places = ([label.get_text() for label in side.get_yticklabels()] for side in (axes, axes.child_axes[0]))
    return bars, names, places


def test_devices_are_in_use_while_nodes_run():
    assert used(SIDE_BY_SIDE) == {
        "cuda:0": [2, 150, 0.75],  # a killed attempt used the device, too
        "cuda:1": [3, 160, 0.8],
        "cuda:2": [0, 0, 0],
        "cpu": [1, 10, 0.05],
    }
    assert used(ONE_BY_ONE) == {"cpu": [3, 90, 0.9]}


def test_a_running_node_is_left_out():
    assert [attempt.name for attempt in attempts_of(ONE_BY_ONE)][-1] == "distil_big_round1"


def test_nothing_is_in_use_before_nodes_end():
    assert used(EMPTY) == {"cpu": [0, 0, 0]}
    assert measure_device_use(EMPTY).columns.tolist() == ["place", "nodes", "busy_seconds", "share"]
    assert sentences(EMPTY) == gantt.sections(EMPTY) == []
    assert draw_timeline(EMPTY).texts[0].get_text() == "no node has ended yet"


@pytest.mark.parametrize(
    ("times", "most"),
    [([(0, 1), (1, 2), (2, 3)], 1), ([(0, 3), (1, 2), (2, 4)], 2), ([(0, 9), (1, 9), (2, 3), (3, 9)], 3)],
)
def test_nodes_at_the_same_time_are_counted(times, most):
    nodes = [row(f"stage.node_{number}", *each) for number, each in enumerate(times)]
    assert most_at_once(attempts_of(timeline(*nodes))) == most


def test_every_attempt_is_a_bar_beside_its_model():
    bars, names, places = drawn(SIDE_BY_SIDE)
    assert names == ["data preparation", "cnn", "tiny", "odd", "big"]
    assert places == ["cpu", "cuda:0", "cuda:1", "cuda:1", "cuda:0, cuda:1"]
    found = sorted((names[round(bar.get_y() + bar.get_height() / 2)], bar.get_x(), bar.get_width()) for bar in bars)
    assert found == [
        ("big", 100, 100), ("cnn", 10, 30), ("cnn", 50, 20), ("data preparation", 0, 10), ("odd", 30, 40),
        ("tiny", 10, 50),
    ]  # fmt: skip


def test_an_unfinished_attempt_is_hatched():
    bars, _, _ = drawn(SIDE_BY_SIDE)
    assert [bar.get_x() for bar in bars if bar.get_hatch()] == [10]
    assert [patch.get_label() for patch in legend_of(attempts_of(SIDE_BY_SIDE), 1, "s")] == [
        "data preparation, 10.0 s", "student training, 140.0 s", "target distillation, 100.0 s", "killed",
    ]  # fmt: skip
    (section,) = gantt.sections(SIDE_BY_SIDE)
    assert "Hatched" in section.figures[0].caption
    (section,) = gantt.sections(ONE_BY_ONE)
    assert "Hatched" not in section.figures[0].caption


def test_each_round_has_the_colour_of_its_stage():
    names = ("target_distillation.a", "round_2.target_distillation.b", "evaluation.c", "reference_arms.d")
    bars, _, _ = drawn(timeline(*(row(name, at, at + 1) for at, name in enumerate(names))))
    first, second, third, fourth = (bar.get_facecolor() for bar in sorted(bars, key=Rectangle.get_x))
    assert first == second
    assert len({first, third, fourth}) == 3


@pytest.mark.parametrize("which", [ONE_BY_ONE, SIDE_BY_SIDE, EMPTY])
def test_the_figure_is_the_same_svg_each_time(which):
    assert inline_svg(draw_timeline(which), "timeline") == inline_svg(draw_timeline(which), "timeline")


def test_sentences_report_order_and_use():
    assert sentences(ONE_BY_ONE) == [
        "3 nodes ran one after another on cpu, in 100.0 seconds.",
        "In use for this share of the time: cpu 90%.",
    ]
    assert sentences(SIDE_BY_SIDE) == [
        "5 nodes ran side by side, up to 3 at once, on cuda:0, cuda:1 and cpu: "
        "their times add up to 4.2 minutes, the run took 3.3 minutes.",
        "In use for this share of the time: cuda:0 75%, cuda:1 80%, cuda:2 0%, cpu 5%.",
        "train_cnn was killed once and repeated.",
    ]
    assert sentences(timeline(row("stage.only", 0, 4)))[0] == "One node ran, on cpu, in 4.0 seconds."


def test_every_node_that_did_not_finish_is_named():
    again = sentences(
        timeline(
            row("stage.twice", 0, 1, status="killed"),
            row("stage.twice", 1, 2, status="killed", attempt=2),
            row("stage.twice", 2, 3, attempt=3),
            row("stage.never", 3, 4, status="failed"),
            row("stage.mended", 4, 5, status="failed"),
            row("stage.mended", 5, 6, attempt=2),
        )
    )
    assert again[2:] == [
        "twice was killed twice and repeated.",
        "never failed once.",
        "mended failed once and was repeated.",
    ]


def test_the_slowest_nodes_have_device_and_share():
    slowest = gantt.slowest_nodes(attempts_of(SIDE_BY_SIDE)).frame.to_dict("records")
    assert [each["time"] for each in slowest] == ["1.7", "0.8", "0.7", "0.5", "0.3", "0.2"]
    assert (slowest[0]["device"], slowest[0]["share"]) == ("cuda:0, cuda:1", 0.5)
    assert [each["node"] for each in slowest if each["remark"] == "killed"] == ["student_training.train_cnn"]
