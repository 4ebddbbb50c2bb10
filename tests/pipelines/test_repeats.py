"""Repeats: one experiment over several seeds, resumed seed by seed, and the tables over all of them."""

import json
from functools import partial, wraps

import pandas as pd
import pytest
import yaml
from kedro.framework.project import configure_project
from kedro.framework.startup import bootstrap_project
from scipy.stats import ttest_1samp

from knowledge_transfer import cli
from knowledge_transfer.errors import RunError
from knowledge_transfer.pipelines.repeats import nodes
from knowledge_transfer.pipelines.student_training import pipeline as student_training
from tests.project import TINY, Project

OPTIONS = dict.fromkeys(("tags", "node_names", "from_nodes", "to_nodes", "from_inputs", "to_outputs"), ())
OPTIONS |= {"namespaces": (), "pipeline": None, "pipelines": [], "env": None, "conf_source": None, "params": {}}
OPTIONS |= {"runner": None, "is_async": False, "runner_params": {}, "load_versions": {}, "config": None}
OPTIONS |= {"only_missing_outputs": False}


@pytest.fixture
def project(tmp_path, monkeypatch):
    made = Project(tmp_path / "project")
    (made.path / "conf" / "local" / "parameters.yml").write_text(yaml.safe_dump(TINY))
    bootstrap_project(made.path)
    configure_project("knowledge_transfer")
    monkeypatch.chdir(made.path)
    return made


@pytest.fixture
def calls(project, monkeypatch):
    made = []
    monkeypatch.setattr(cli.kedro_run, "callback", lambda **options: made.append(options))
    return made


def run(params, **options):
    return cli.run.callback(**{**OPTIONS, "params": params, **options})


def test_every_seed_has_a_folder_of_its_own(calls):
    run({"seeds": 3, "seed": 4, "rounds": 1}, only_missing_outputs=True)
    *seeds, tables = calls
    assert [each["params"] for each in seeds] == [
        {"seeds": 1, "seed": seed, "rounds": 1, "folder": f"data/seed_{seed}"} for seed in (4, 5, 6)
    ]
    assert all(each["only_missing_outputs"] for each in seeds)
    assert tables["pipelines"] == ["repeats"]
    assert tables["params"] == {"seeds": 3, "seed": 4, "rounds": 1}
    assert not tables["only_missing_outputs"]


def test_the_mix_is_repeated_too(calls):
    run({"seeds": 2}, pipelines=["heterogeneous"])
    assert [each["pipelines"] for each in calls] == [["heterogeneous"]] * 2 + [["heterogeneous_repeats"]]


def test_seeds_of_a_file_are_for_the_experiments_alone(project, calls):
    file = project.path / "conf" / "local" / "parameters.yml"
    file.write_text(yaml.safe_dump(TINY | {"seeds": 2}))
    run({}, pipelines=["alpha_study"])
    assert [each["params"] for each in calls] == [{}]
    calls.clear()
    run({})
    assert [each["params"].get("seed") for each in calls] == [0, 1, None]


def test_one_seed_is_an_ordinary_run(calls):
    run({"seeds": 1})
    run({})
    assert [each["params"] for each in calls] == [{"seeds": 1}, {}]


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        ({"seeds": 0}, {}, "1 or more, got 0"),
        ({"seeds": "many"}, {}, "1 or more, got 'many'"),
        ({"seeds": 2}, {}, "data/seed_7 is there already: set seeds to 8 or more"),
        ({"seeds": 9}, {"pipelines": ["alpha_study"]}, "whole experiment"),
        ({"seeds": 9}, {"pipelines": ["bidirectional", "heterogeneous"]}, "whole experiment"),
        ({"seeds": 9}, {"from_nodes": ("evaluation.score_models",)}, "whole experiment"),
    ],
)
def test_what_cannot_be_repeated_is_refused(project, calls, params, options, message):
    (project.path / "data" / "seed_7").mkdir(parents=True)
    with pytest.raises(RunError, match=message):
        run(params, **options)
    assert calls == []


def metrics(accuracy):
    row = {"stage": "before", "round": 0, "of": "cnn", "arm": None, "domain": "all", "joint_accuracy": accuracy,
           "nll": 1.0, "ece": 0.1, "images": 9, "parameters": 5, "macs": 6, "images_per_second": 7.0,
           "warning": None}  # fmt: skip
    without = {"model": f"ensemble_without_{accuracy}", "stage": "reference", "of": "ensemble", "arm": str(accuracy)}
    return pd.DataFrame([{"model": "cnn", "accuracy": accuracy, **row}, {**row, "accuracy": accuracy, **without}])


def test_models_have_means_and_errors_over_seeds():
    table = nodes.average_models(0, metrics(0.5), metrics(0.7))
    assert table["model"].tolist() == ["cnn"], "an ensemble without another student each time has no mean"
    row = table.iloc[0]
    assert (row["accuracy"], row["standard_error"], row["seeds"]) == (pytest.approx(0.6), pytest.approx(0.1), 2)
    assert row["parameters"] == 5


def comparisons(*differences):
    return pd.DataFrame(
        {"question": question, "a": f"a{student}", "b": f"b{student}", "domain": "all", "measure": "accuracy",
         "student": student, "difference": difference}
        for question, student, difference in differences
    )  # fmt: skip


def test_differences_are_paired_by_seed():
    gains = (0.030, 0.031, 0.033)
    tables = [
        comparisons(("taught or not", "cnn", gain), ("target or the strongest student", f"s{gain}", -gain))
        for gain in gains
    ]
    joined = nodes.join_comparisons(7, *tables)
    assert joined["seed"].tolist() == [7, 7, 8, 8, 9, 9]
    back, strongest = nodes.average_differences(joined).to_dict("records")
    expected = ttest_1samp(gains, 0)
    assert back["student"] == "cnn"
    assert back["difference"] == pytest.approx(sum(gains) / 3)
    assert back["p_value"] == pytest.approx(expected.pvalue)
    assert (back["verdict"], back["seeds"]) == ("gain", 3)
    # Another student is the strongest with another seed: one question all the same.
    assert (strongest["student"], strongest["seeds"], strongest["verdict"]) == ("", 3, "loss")


@pytest.mark.slow
def test_repeats_that_were_killed_resume_with_the_same_table(project, monkeypatch):
    table = project.file("08_reporting/repeats_differences_table.csv")
    repeat = partial(run, {"seeds": 2}, runner="SequentialRunner")
    train, trained = student_training.train_student, []

    @wraps(train)
    def killed(*given):
        trained.append(given)
        if len(trained) == 5:  # in the second seed
            raise KeyboardInterrupt
        return train(*given)

    with monkeypatch.context() as patched:
        patched.setattr(student_training, "train_student", killed)
        with pytest.raises(KeyboardInterrupt):
            repeat()
    assert not table.exists()
    first = project.file("seed_0/06_models/vgg19_round1.safetensors").stat().st_mtime_ns
    repeat(only_missing_outputs=True)
    assert project.file("seed_0/06_models/vgg19_round1.safetensors").stat().st_mtime_ns == first
    resumed = table.read_text()
    repeat()
    assert table.read_text() == resumed
    summary = json.loads(project.file("08_reporting/repeats_summary.json").read_text())
    assert {"vgg19", "vgg19_taught", "resnet8_continued"} <= {row["model"] for row in summary["rows"]}
    assert "over 2 seeds" in project.file("08_reporting/repeats_report.html").read_text()
