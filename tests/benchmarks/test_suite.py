import itertools
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.common import cifar10, ours
from benchmarks.common.bench import TINY, Bench, Clock, Sizes
from benchmarks.common.report import Report, Section
from benchmarks.experiment import recipes, target
from benchmarks.experiment.published import Walk, stages
from benchmarks.scaling import stacking
from benchmarks.speed import limits, options, tables
from benchmarks.speed.__main__ import SECTIONS, main
from benchmarks.speed.peers import fit as peers
from knowledge_transfer.pipelines.data_preparation.nodes import cut_published_images, measure_normalisation
from knowledge_transfer.pipelines.reverse_distillation.nodes import distil_student, label_for_students, rank_teachers
from knowledge_transfer.pipelines.student_training.nodes import train_student
from knowledge_transfer.pipelines.target_distillation.nodes import distil_target, label_by_ensemble, rank_members

ROOT = Path(__file__).parents[2]
PER_FILE = 20


@pytest.fixture
def bench():
    return Bench(torch.device("cpu"), TINY, cifar10.synthetic(200, 100), Clock(600), kinds=("simple_cnn",))


@pytest.fixture
def report(tmp_path):
    facts = {"began": "now", "tiny": True, "images": {"source": "synthetic", "training": 200, "test": 100}}
    return Report(tmp_path / "speed.json", facts)


def written(report):
    return json.loads(report.path.read_text())["sections"]


def test_the_experiment_reports_every_accuracy(tmp_path, capsys):
    out = tmp_path / "speed.json"
    arguments = ["--device", "cpu", "--tiny", "--out", str(out), "--only", "machine", "--only", "experiment"]
    assert main(arguments) == 0
    content = json.loads(out.read_text())
    assert content["images"]["source"] == "synthetic"
    machine, walked = (content["sections"][name] for name in ("machine", "experiment"))
    assert machine["rows"].keys() == {"facts", "bf16", "fp32", "tf32"}
    rows = walked["rows"]
    assert walked["status"] == "done"
    assert walked["seconds"] >= sum(row["seconds"] for row in rows.values()) * 0.99
    students = {"simple_cnn", "resnet8", "resnet50", "squeezenet"}
    models = {f"{name}@{round_}" for name in students for round_ in (0, 1)} | {"vgg19@1"}
    for which in ("validation", "test"):
        accuracy = rows[f"evaluation/{which}"]["accuracy"]
        assert accuracy.keys() == models | {"ensemble before", "ensemble after"}
        assert all(0 <= value <= 1 for value in accuracy.values())
    for stage in ("student_training", "reverse_distillation"):
        for name in students:
            row = rows[f"{stage}/{name}"]
            assert row["epochs"] == TINY.epochs
            assert 0 <= row["validation_accuracy"] <= 1
    printed = capsys.readouterr().out
    assert printed == "\n".join(tables.lines_of(content)) + "\n"
    assert "| vgg19@1 |" in printed
    assert "the numbers mean nothing" in printed


@pytest.mark.parametrize(
    ("section", "rows", "count", "keys"),
    [
        (
            "limits",
            limits.rows,
            1,
            {"multiply_adds", "images_per_second", "of_bare", "share", "peak_gibibytes", "step"},
        ),
        ("options", options.rows, 4, {"images_per_second", "times_eager", "warm_up_seconds", "pays_after"}),
        ("peers", peers.rows, 1, {"runs"}),
        ("stacking", stacking.rows, 1, {"one_after_another", "together", "ratio"}),
        ("target", target.rows, 1, {"seconds_to", "curve", "once_seconds", "training_seconds"}),
    ],
)
def test_a_section_has_its_rows_and_table(bench, report, section, rows, count, keys):
    # The rows after those need a compiler or other processes, and take long.
    report.measure(section, Section(lambda bench: itertools.islice(rows(bench), count), 0), bench)
    entry = written(report)[section]
    assert entry["status"] == "done", entry
    assert len(entry["rows"]) == count
    assert all(row.keys() > keys for row in entry["rows"].values())
    shown = list(tables.lines_of(report.content))
    assert sum(line.startswith("| ") for line in shown) >= 1 + count


def test_limits_compare_with_the_bare_pass(bench, report):
    report.measure("limits", Section(limits.rows, 0), bench)
    row = written(report)["limits"]["rows"]["simple_cnn/8"]
    assert 0 < len(row["step"]["top"]) <= 10
    assert 0 < sum(row["step"]["top"].values()) <= 1 + 1e-9
    rates = row["images_per_second"]
    assert rates.keys() == {"bare", "steps", "labelling", "evaluation"}
    assert row["of_bare"] == [rates["steps"][0] / rates["bare"][0]]
    # A training step is three passes, labelling is one.
    shares = {side: row["share"][side] / rates[side][0] for side in rates}
    passes = {"bare": 3, "steps": 3, "labelling": 1, "evaluation": 1}
    per_pass = row["multiply_adds"] / bench.fast_rate
    assert shares == pytest.approx({side: count * per_pass for side, count in passes.items()})


def test_an_error_in_one_row_leaves_the_others(bench, report):
    def broken():
        raise ValueError("no such kernel")

    def rows(_):
        yield from (("first", dict), ("second", broken), ("third", dict))

    report.measure("loose", Section(rows, 0), bench)
    report.measure("chained", Section(rows, 0, chained=True), bench)
    report.measure("after", Section(lambda _: iter([("only", dict)]), 0), bench)
    loose, chained, after = (written(report)[name] for name in ("loose", "chained", "after"))
    assert (loose["status"], chained["status"], after["status"]) == ("failed", "failed", "done")
    assert loose["rows"].keys() == {"first", "third"}
    assert chained["rows"].keys() == {"first"}
    assert loose["errors"] == chained["errors"] == {"second": "ValueError: no such kernel"}


def test_a_section_without_time_is_skipped(bench, report):
    def rows(_):
        yield "first", dict
        bench.clock.seconds = 0
        yield "second", dict

    report.measure("long", Section(rows, 1e6), bench)
    report.measure("cut", Section(rows, 0), bench)
    long, cut = (written(report)[name] for name in ("long", "cut"))
    assert long["status"] == "skipped"
    assert "1000000 s" in long["message"]
    assert cut["status"] == "out of time"
    assert cut["rows"].keys() == {"first"}


def test_a_fit_ends_with_the_time(bench, report):
    def fit():
        ours.events.emit(ours.events.FitStarted("student", 2, 60, 1))
        bench.clock.seconds = 0
        ours.events.emit(ours.events.FitStarted("student", 2, 60, 1))
        return {}

    report.measure("fits", Section(lambda _: iter([("first", dict), ("second", fit)]), 0), bench)
    entry = written(report)["fits"]
    assert entry["status"] == "out of time"
    assert entry["rows"].keys() == {"first"}
    ours.events.emit(ours.events.FitStarted("student", 2, 60, 1))  # no clock listens any more


def test_the_recipes_are_those_of_the_configuration(monkeypatch):
    monkeypatch.chdir(ROOT)
    written_ = json.loads(recipes.FILE.read_text())
    assert written_ == recipes.configured(), "run `python -m benchmarks.experiment.recipes`"
    assert recipes.published(Sizes()).target_distillation.recipe.epochs == 50


def test_the_experiment_makes_what_the_nodes_make(bench):
    plan = recipes.published(TINY)
    plan = plan.model_copy(update={"students": {"simple_cnn": plan.students["simple_cnn"]}})
    walk = Walk(bench, plan)
    for stage in stages(walk).values():
        stage()
    assert len(walk.refined) == 1

    seed, member, device = plan.seed, plan.students["simple_cnn"], "cpu"
    images = {"all_training": bench.images.training, "all_test": bench.images.test}
    student_set, validation, transfer, _, _ = cut_published_images(plan.data, {}, plan.data_preparation, seed, **images)
    normalisation = measure_normalisation(student_set, plan.students, plan.target)
    sets, last = (transfer, student_set, validation, normalisation), (seed, device)
    trained = train_student(student_set, validation, normalisation, member, plan.student_training, *last)
    assert trained.sha256 == walk.students["simple_cnn"].sha256

    stage, ranks = plan.target_distillation, rank_members(validation, device, trained)
    labels = label_by_ensemble(transfer, student_set, stage, *last, trained)
    taught = distil_target(*sets, labels, ranks, plan.target, stage, *last, simple_cnn=trained)
    assert taught.sha256 == walk.target["vgg19"].sha256

    # The walk lets every teacher teach; a pipeline leaves one out that has learned nothing, as on these few images.
    stage, ranks = plan.reverse_distillation, rank_teachers(validation, device, taught)
    ranks = {domain: {key: score | {"collapse": ""} for key, score in of.items()} for domain, of in ranks.items()}
    labels = label_for_students(transfer, student_set, stage, *last, taught)
    refined = distil_student(1, *sets, labels, ranks, member, stage, *last, start=trained, vgg19=taught)
    assert refined.sha256 == walk.refined["simple_cnn"].sha256


def write(folder, layout):
    generator = np.random.default_rng(0)
    place = folder / f"cifar-10-batches-{layout}"
    place.mkdir()
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        pixels = generator.integers(0, 256, (PER_FILE, 3072), dtype=np.uint8)
        labels = (np.arange(PER_FILE) % 10).tolist()
        if layout == "bin":
            rows = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
            (place / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            (place / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels}, protocol=2))
    (place / "batches.meta").write_bytes(pickle.dumps({"label_names": []}))
    return place, pixels


def test_both_layouts_hold_the_same_images(tmp_path, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)  # of the published files
    (tmp_path / "py").mkdir()
    write(tmp_path / "py", "py")
    _, pixels = write(tmp_path, "bin")
    of_bytes, of_pickles = cifar10.read(tmp_path, PER_FILE), cifar10.read(tmp_path / "py")
    assert of_bytes.source == "cifar10"
    assert of_bytes.training.sha256 == of_pickles.training.sha256
    assert of_bytes.test.sha256 == of_pickles.test.sha256
    assert torch.equal(of_bytes.test.images.flatten(1), torch.from_numpy(pixels))
    assert len(of_bytes.training) == 5 * PER_FILE


def test_another_pickle_is_not_read(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    place, _ = write(tmp_path, "py")
    (place / "data_batch_3").write_bytes(pickle.dumps({"data": Harmful()}, protocol=2))
    with pytest.raises(ValueError, match=r"no CIFAR-10 in .*, or a damaged one"):
        cifar10.read(tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"\x00" * 3073 * (PER_FILE - 1), b"\x0a" * 3073 * PER_FILE, b"\x00" * 100])
def test_a_damaged_file_is_named(tmp_path, content):
    place, _ = write(tmp_path, "bin")
    (place / "test_batch.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"test_batch\.bin"):
        cifar10.read(tmp_path, PER_FILE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tiny", "--data", "nowhere"], "no CIFAR-10 in nowhere"),
        ([], "need CIFAR-10"),
        (["--only", "peers", "--only", "options"], "without a GPU options, peers take hours"),
        (["--tiny", "--size", "repeat=3"], "no size 'repeat=3'; did you mean 'repeats'?"),
        (["--tiny", "--out", "no/such/folder/speed.json"], "cannot be written"),
    ],
)
def test_a_refusal_comes_before_anything_begins(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--device", "cpu", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert not printed.out
    assert not list(tmp_path.iterdir())


def test_sizes_change_by_name():
    assert Sizes().changed("repeats=2 batches=[64]") == Sizes(repeats=2, batches=(64,))


@pytest.mark.slow
def test_a_machine_with_torch_alone_runs_the_suite(tmp_path):
    absent = [
        "kedro",
        "kedro_datasets",
        "mlflow",
        "pandas",
        "sklearn",
        "yaml",
        "omegaconf",
        "safetensors",
        "matplotlib",
    ]
    out = str(tmp_path / "speed.json")
    arguments = ["--device", "cpu", "--tiny", "--only", "machine", "--only", "peers", "--workers", "0", "--out", out]
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({absent}))\n"
        "from benchmarks.speed.__main__ import main\n"
        f"code = main({arguments})\n"
        "ours = {name.split('.')[1] for name in sys.modules if name.startswith('knowledge_transfer.')}\n"
        "sys.exit(code or ours != {'learning', 'experiment'})\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    sections = json.loads((tmp_path / "speed.json").read_text())["sections"]
    assert {name: entry["status"] for name, entry in sections.items()} == {"machine": "done", "peers": "done"}


def test_every_section_has_a_table():
    assert SECTIONS.keys() == tables.TABLES.keys()
