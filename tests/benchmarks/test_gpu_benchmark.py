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

from benchmarks.gpu import data, limit, options, peers, stacking, table, target
from benchmarks.gpu.__main__ import SECTIONS, main
from benchmarks.gpu.bench import TINY, Bench, Clock
from benchmarks.gpu.experiment import Walk
from benchmarks.gpu.make_recipes import configured
from benchmarks.gpu.recipes import FILE, published, seed_for
from benchmarks.gpu.report import Report, Section
from knowledge_transfer.experiment import config
from knowledge_transfer.learning.training import events
from knowledge_transfer.pipelines.data_preparation.nodes import cut_published_images, measure_normalisation
from knowledge_transfer.pipelines.reverse_distillation.nodes import distil_student, label_by_target
from knowledge_transfer.pipelines.student_training.nodes import train_student
from knowledge_transfer.pipelines.target_distillation.nodes import distil_target, label_by_ensemble, rank_members

ROOT = Path(__file__).parents[2]
PER_FILE = 20


@pytest.fixture
def bench():
    return Bench(torch.device("cpu"), TINY, data.made_up(200, 100), Clock(600), kinds=("simple_cnn",))


@pytest.fixture
def report(tmp_path):
    facts = {"began": "now", "tiny": True, "images": {"source": "synthetic", "training": 200, "test": 100}}
    return Report(tmp_path / "gpu.json", facts)


def written(report):
    return json.loads(report.path.read_text())["sections"]


def test_the_experiment_is_walked_and_every_accuracy_told(tmp_path, capsys):
    out = tmp_path / "gpu.json"
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
    tables = "\n".join(table.lines_of(content))
    assert "| vgg19@1 |" in tables
    assert "the numbers mean nothing" in tables


@pytest.mark.parametrize(
    ("section", "rows", "count", "keys"),
    [
        ("limit", limit.rows, 1, {"multiply_adds", "images_per_second", "share", "peak_gibibytes", "step"}),
        ("options", options.rows, 4, {"images_per_second", "times_eager", "warm_up_seconds", "pays_after"}),
        ("peers", peers.rows, 1, {"images_per_second", "ratio", "workers"}),
        ("stacking", stacking.rows, 1, {"members", "images_per_second", "ratio"}),
        ("target", target.rows, 1, {"seconds_to", "curve", "once_seconds", "training_seconds"}),
    ],
)
def test_a_section_has_its_rows_and_its_table(bench, report, section, rows, count, keys):
    # What comes after those needs a compiler or other processes, and takes long.
    report.measure(section, Section(lambda bench: itertools.islice(rows(bench), count), 0), bench)
    entry = written(report)[section]
    assert entry["status"] == "done", entry
    assert len(entry["rows"]) == count
    assert all(row.keys() > keys for row in entry["rows"].values())
    shown = list(table.lines_of(report.content))
    assert sum(line.startswith("| ") for line in shown) >= 1 + count


def test_of_a_step_the_parts_are_told_and_make_no_more_than_the_whole(bench, report):
    report.measure("limit", Section(limit.rows, 0), bench)
    row = written(report)["limit"]["rows"]["simple_cnn/8"]
    assert 0 < len(row["step"]["top"]) <= 10
    assert 0 < sum(row["step"]["top"].values()) <= 1 + 1e-9
    assert row["images_per_second"].keys() == {"bare", "learner", "label", "predict"}


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


def test_what_no_longer_fits_is_skipped_and_named(bench, report):
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


def test_a_fit_ends_with_the_time_and_leaves_what_was_measured(bench, report):
    def fit():
        events.emit(events.FitStarted("student", 2, 60, 1))
        bench.clock.seconds = 0
        events.emit(events.FitStarted("student", 2, 60, 1))
        return {}

    report.measure("fits", Section(lambda _: iter([("first", dict), ("second", fit)]), 0), bench)
    entry = written(report)["fits"]
    assert entry["status"] == "out of time"
    assert entry["rows"].keys() == {"first"}
    events.emit(events.FitStarted("student", 2, 60, 1))  # which nobody ends any more


def test_the_recipes_are_those_of_the_configuration(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert json.loads(FILE.read_text()) == configured(), "run `python -m benchmarks.gpu.make_recipes`"
    assert published().target_distillation.recipe.epochs == 50


@pytest.mark.parametrize("name", ["vgg19", "target_distillation"])
def test_the_seeds_are_those_of_the_pipelines(name):
    assert seed_for(7, name) == config.seed_for(7, name)


def test_the_walk_makes_what_the_nodes_make(bench):
    plan = published().at(TINY)
    student, walk = plan.students["simple_cnn"], Walk(bench, plan)
    walk.cut()
    walk.train("simple_cnn")
    walk.rank()
    walk.label_by_ensemble()
    walk.distil_target()
    walk.label_by_target()
    walk.distil_student("simple_cnn")

    of = plan.model_dump()
    how = config.DataPreparation(**of["data_preparation"])
    source = config.DataSource(source="cifar10", path="", image_size=32)
    images = {"all_training": bench.images.training, "all_test": bench.images.test}
    student_set, validation, transfer, _, _ = cut_published_images(source, {}, how, plan.seed, **images)
    normalisation, last = measure_normalisation(student_set), (plan.seed, "cpu")
    member = config.Student(name="simple_cnn", **student.model_dump())
    trained = train_student(
        student_set, validation, normalisation, member, config.Training(recipe=plan.student_training.recipe), *last
    )
    assert trained.sha256 == walk.students["simple_cnn"].sha256

    stage = config.DistillationStage(**of["target_distillation"])
    said = label_by_ensemble(transfer, student_set, stage, *last, trained)
    ranks = rank_members(validation, "cpu", trained)
    target_ = config.Target(**of["target"])
    taught = distil_target(
        transfer, student_set, validation, normalisation, said, ranks, target_, stage, *last, simple_cnn=trained
    )
    assert taught.sha256 == walk.target.sha256

    back = config.DistillationStage(**of["reverse_distillation"])
    said = label_by_target(transfer, student_set, back, *last, taught)
    refined = distil_student(
        transfer, student_set, validation, normalisation, said, taught, member, back, *last, trained
    )
    assert refined.sha256 == walk.refined["simple_cnn"].sha256


def batches():
    generator = np.random.default_rng(0)
    for number in range(6):
        pixels = generator.integers(0, 256, (PER_FILE, 3072), dtype=np.uint8)
        labels = (np.arange(PER_FILE) % 10).tolist()
        yield "test_batch" if number == 5 else f"data_batch_{number + 1}", pixels, labels


def write(folder, layout):
    place = folder / f"cifar-10-batches-{layout}"
    place.mkdir()
    for name, pixels, labels in batches():
        if layout == "bin":
            rows = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
            (place / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            (place / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels}, protocol=2))
    return place


def test_both_layouts_hold_the_same_images(tmp_path):
    write(tmp_path, "bin")
    place = write(tmp_path, "py")
    of_bytes, of_pickles = data.read(tmp_path, PER_FILE), data.read(place, PER_FILE)
    assert of_bytes.source == "cifar10"
    assert of_bytes.training.sha256 == of_pickles.training.sha256
    assert of_bytes.test.sha256 == of_pickles.test.sha256
    *_, (_, pixels, _) = batches()
    assert torch.equal(of_bytes.test.images.flatten(1), torch.from_numpy(pixels))
    assert len(of_bytes.training) == 5 * PER_FILE


def test_a_pickle_that_names_more_than_arrays_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    (write(tmp_path, "py") / "data_batch_3").write_bytes(pickle.dumps({"data": Harmful()}, protocol=2))
    with pytest.raises(ValueError, match=r"data_batch_3 .*it names posix\.mkdir"):
        data.read(tmp_path, PER_FILE)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"\x00" * 3073 * (PER_FILE - 1), b"\x0a" * 3073 * PER_FILE, b"\x00" * 100])
def test_a_damaged_file_is_named(tmp_path, content):
    place = write(tmp_path, "bin")
    (place / "test_batch.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"test_batch\.bin"):
        data.read(tmp_path, PER_FILE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tiny", "--data", "nowhere"], "no CIFAR-10 in nowhere"),
        ([], "need CIFAR-10"),
        (["--only", "machine"], "without a GPU"),
        (["--tiny", "--out", "no/such/folder/gpu.json"], "cannot be written"),
    ],
)
def test_what_is_missing_is_said_before_anything_begins(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--device", "cpu", *arguments]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert not told.out
    assert not list(tmp_path.iterdir())


def test_a_machine_with_torch_alone_can_run_it(tmp_path):
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
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({absent}))\n"
        "import benchmarks.gpu.table\n"
        "from benchmarks.gpu.__main__ import main\n"
        f"code = main(['--device', 'cpu', '--tiny', '--only', 'machine', '--out', {str(tmp_path / 'gpu.json')!r}])\n"
        "ours = {name.split('.')[1] for name in sys.modules if name.startswith('knowledge_transfer.')}\n"
        "sys.exit(code or ours != {'learning'})\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "gpu.json").read_text())["sections"]["machine"]["status"] == "done"


def test_every_section_has_a_table():
    assert SECTIONS.keys() == table._TABLES.keys()
