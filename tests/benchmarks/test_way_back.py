"""How far a teacher is ahead, and what that brings, from the reports of a run."""

import csv
import json

import pytest

from benchmarks.experiment import way_back


@pytest.fixture
def run(tmp_path):
    reports = tmp_path / "seed_3" / "08_reporting"
    reports.mkdir(parents=True)
    lineage = {
        "vgg19@1": {
            "parents": {"vgg19_labels@1": ""},
            "validation_nll": {"vgg19_taught@1": 0.7, "vgg19_labels@1": 0.5},
        },
        "cnn_taught@1": {"parents": {"cnn@0": "", "vgg19@1": ""}, "validation_nll": {}},
        "cnn@1": {"parents": {}, "validation_nll": {"cnn@0": 1.0, "cnn_taught@1": 0.6, "cnn_continued@1": 0.75}},
    }
    (reports / "lineage.json").write_text(json.dumps(lineage))
    rows = [
        ("student taught back or continued on labels", "cnn_taught@1", "cnn_continued@1", "cnn", 0.012, 0.005),
        ("student taught back or before", "cnn_taught@1", "cnn@0", "cnn", 0.5, 0.1),
    ]
    with (reports / "comparisons.csv").open("w") as file:
        csv.writer(file).writerows([("question", "a", "b", "student", "difference", "standard_error"), *rows])
    return reports.parent


def test_a_student_is_paired_with_the_target_that_was_kept(run, tmp_path):
    (pair,) = way_back.pairs(run)
    assert (pair.run, pair.student) == ("seed_3", "cnn")
    assert (pair.ahead, pair.gain, pair.error) == pytest.approx((0.25, 1.2, 0.5))
    way_back.draw([pair], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_a_run_without_the_arm_is_refused(run):
    (run / "08_reporting" / "comparisons.csv").write_text("question,a,b,student,difference,standard_error\n")
    with pytest.raises(SystemExit, match="no student was continued on labels"):
        list(way_back.pairs(run))
