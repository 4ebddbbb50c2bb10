"""The whole experiment through Kedro, on 240 digits and networks an eighth as wide."""

import json

import pandas as pd
import pytest
from kedro.framework.project import pipelines

from knowledge_transfer.errors import RunError
from tests.project import EVERY_ARM, STUDENTS, Project, merged


@pytest.fixture
def project(finished_project):
    return finished_project


def test_the_four_sets_share_no_picture(project):
    sets = [set(project.images(name).content_hashes()) for name in ("student", "validation", "transfer", "test")]
    assert all(sets)
    assert len(set.union(*sets)) == sum(map(len, sets))


def test_withheld_labels_are_in_no_file(project, tmp_path):
    """The pictures are the same, and the other sets keep their labels."""
    hidden = Project(tmp_path)
    hidden.run({"data_preparation": {"transfer_labels": False}}, pipeline="data_preparation")
    found, known = hidden.images("transfer"), project.images("transfer")
    assert not found.is_labelled.any()
    assert found.content_hashes() == known.content_hashes()
    for name in ("student", "validation", "test"):
        assert hidden.images(name).sha256 == project.images(name).sha256


def test_normalisation_comes_from_the_student_set_alone(project):
    stored = json.loads(project.file("05_model_input/normalisation.json").read_text())
    mean, deviation = project.images("student").statistics()
    assert stored == {"all": {"mean": list(mean), "deviation": list(deviation)}}


def test_the_summary_has_every_model(project):
    summary = project.report("summary")
    assert {"pipeline", "environment", "seed", "seconds", "rows"} == summary.keys()
    assert (summary["pipeline"], summary["environment"], summary["seed"]) == ("bidirectional", "base", 0)
    by_stage = {}
    for row in summary["rows"]:
        assert row.keys() == {
            *("model", "stage", "round", "accuracy", "nll", "ece", "parameters", "macs", "images_per_second", "warning")
        }
        by_stage.setdefault(row["stage"], []).append(row["model"])
        if not row["model"].startswith("ensemble"):
            facts = project.checkpoint(f"{row['model']}_round{row['round']}").facts
            assert row["warning"] == (facts.warning or None)
    assert sorted(by_stage["before"]) == sorted(by_stage["after"]) == sorted(STUDENTS)
    assert by_stage["target"] == ["vgg19"]
    assert sorted(by_stage["taught"]) == sorted(f"{name}_taught" for name in ("vgg19", *STUDENTS))
    arms = {"vgg19_labels", "vgg19_no_labels", "vgg19_label_smoothing", "vgg19_all_labels"}
    arms |= {f"{name}_{arm}" for name in STUDENTS for arm in ("continued", "mutual")}
    assert {name for name in by_stage["reference"] if not name.startswith("ensemble_without")} == arms
    assert len(by_stage["ensemble"]) >= 14


def hashes(project, *keys):
    """Return the hash of the weights of each of these models, by key."""
    return {key: project.checkpoint(key.replace("@", "_round")).sha256 for key in keys}


def test_parents_are_students_then_the_target(project, tmp_path):
    """With a target that has steps enough to learn something."""
    copy = project.copy(tmp_path / "copy")
    longer = {"target_distillation": {"recipe": {"epochs": 10, "batch_size": 16}}}
    copy.run(
        merged(EVERY_ARM, longer),
        from_nodes=["target_distillation.label_by_ensemble_round1"],
        to_nodes=[f"reverse_distillation.distil_{name}_round1" for name in STUDENTS],
    )
    assert not copy.checkpoint("vgg19_round1").facts.warning
    members = hashes(copy, *(f"{name}@0" for name in STUDENTS))
    assert copy.checkpoint("vgg19_taught_round1").facts.parents == members
    for name in STUDENTS:
        assert copy.checkpoint(f"{name}_taught_round1").facts.parents == hashes(copy, f"{name}@0", "vgg19@1")


def test_a_target_that_has_collapsed_teaches_nobody(project):
    """Four steps teach it nothing: the students learn from labels, as in their reference arm."""
    assert project.checkpoint("vgg19_round1").facts.warning
    for name in STUDENTS:
        taught, continued = (project.checkpoint(f"{name}_{arm}_round1") for arm in ("taught", "continued"))
        assert taught.facts.parents == hashes(project, f"{name}@0")
        assert taught.sha256 == continued.sha256


@pytest.mark.parametrize("name", ["vgg19", *STUDENTS])
def test_what_is_best_on_validation_is_kept(project, name):
    candidates = ["vgg19_taught@1", "vgg19_labels@1"]
    if name in STUDENTS:
        candidates = [f"{name}@0", f"{name}_taught@1", f"{name}_continued@1"]
    kept = project.checkpoint(f"{name}_round1")
    assert list(kept.facts.validation_nll) == candidates
    ((parent, sha256),) = kept.facts.parents.items()
    assert kept.facts.validation_nll[parent] == min(kept.facts.validation_nll.values())
    assert {parent: sha256} == hashes(project, parent)
    assert (kept.sha256, kept.curve) == (sha256, ())
    assert project.report("lineage")[kept.facts.key]["validation_nll"] == kept.facts.validation_nll


def test_every_fit_and_acceptance_is_a_child_run(project):
    client, (parent,), children = project.mlflow_runs("bidirectional")
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    runs = {(child.data.tags["stage"], child.info.run_name): child.data for child in children}
    together = runs.pop(("reference_arms", "students_mutual"))
    accepted = {"vgg19": runs.pop(("target_distillation", "vgg19"))}
    accepted |= {name: runs.pop(("reverse_distillation", name)) for name in STUDENTS}
    assert len(runs) == 3 + 1 + 3 + 4 + 3
    epochs = {"loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "images_per_second"}
    assert {frozenset(run.metrics) for run in runs.values()} == {frozenset(epochs)}
    assert set(together.metrics) == {f"{metric}.{name}_mutual" for metric in epochs for name in STUDENTS}
    for name, run in accepted.items():
        nll = project.checkpoint(f"{name}_round1").facts.validation_nll
        assert run.metrics == {f"validation_nll.{key.replace('@', '_round')}": value for key, value in nll.items()}
    assert len({frozenset(run.params) for run in (*runs.values(), *accepted.values())}) == 1
    assert {model.name for model in client.search_registered_models()} == {
        "bidirectional", *(f"bidirectional.{name}" for name in (*STUDENTS, "vgg19"))
    }  # fmt: skip


def test_every_class_has_its_accuracy(project):
    classes = pd.read_csv(project.file("08_reporting/class_metrics.csv"))
    test = project.images("test")
    assert classes["class"].astype(str).tolist() == list(test.class_names)
    assert classes["images"].tolist() == test.labels.bincount().tolist()
    rows = {(row["model"], row["round"]): row["accuracy"] for row in project.report("summary")["rows"]}
    share = classes["images"] / len(test)
    assert (classes["accuracy"] * share).sum() == pytest.approx(rows["vgg19", 1])
    for column, round_ in (("before", 0), ("after", 1)):
        mean = sum(rows[name, round_] for name in STUDENTS) / len(STUDENTS)
        assert (classes[column] * share).sum() == pytest.approx(mean)


def test_the_learning_curves_are_tidy(project):
    curve = pd.DataFrame(project.checkpoint("vgg19_taught_round1").curve)
    assert curve["epoch"].tolist() == [1, 2]
    assert curve["validation_accuracy"].between(0, 1).all()


def test_the_report_shows_where_the_time_went(project):
    timeline = project.report("timeline")
    assert {row["status"] for row in timeline["nodes"]} == {"finished"}
    assert [row["model"] for row in timeline["nodes"] if row["node"] == "student_training.train_resnet8"] == ["resnet8"]
    use = pd.read_csv(project.file("08_reporting/device_use.csv"))
    assert use["share"].between(0, 1, inclusive="right").all()
    assert project.file("08_reporting/figures/timeline.png").is_file()
    assert "nodes ran one after another on cpu" in project.file("08_reporting/report.html").read_text()


def test_every_dataset_is_in_the_catalog(project):
    with project.session() as session:
        catalog = session.load_context().catalog
        for name, pipeline in pipelines.items():
            for dataset in pipeline.datasets():
                if not dataset.startswith("params:") and dataset != "parameters":
                    assert dataset in catalog, f"{name}: {dataset} has no catalog entry"


def test_damaged_and_stale_checkpoints_are_made_again(project, tmp_path, caplog):
    copy = project.copy(tmp_path / "copy")
    weights = copy.file("06_models/resnet8_round0.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"resnet8_round0.safetensors is damaged"):
        copy.checkpoint("resnet8_round0").build()
    with pytest.raises(RunError, match="made with other parameters: run without --only-missing-outputs"):
        copy.run({"seed": 3}, only_missing_outputs=True)
    different = {**EVERY_ARM, "students": {"resnet8": {"recipe": {"learning_rate": 0.01}}}}
    copy.run(different, to_nodes=["student_training.train_resnet8"])
    copy.file("06_models/vgg19_taught_round1.safetensors").unlink()
    with pytest.raises(RunError, match="not from the present resnet8@0: label again"):
        copy.run(different, from_nodes=["target_distillation.distil_vgg19_round1"])
    copy.run(different, only_missing_outputs=True, to_nodes=["target_distillation.distil_vgg19_round1"])
    assert "results of an earlier run are recomputed" in caplog.text
    parents = copy.checkpoint("vgg19_taught_round1").facts.parents
    assert parents == hashes(copy, *(f"{name}@0" for name in STUDENTS))


def test_an_interrupted_run_resumes(project, tmp_path):
    copy = project.copy(tmp_path / "copy")
    lost = [copy.file(f"06_models/{name}_round1.safetensors") for name in ("vgg19_taught", "vgg19", "resnet8")]
    kept = copy.file("06_models/simple_cnn_round0.safetensors")
    before, expected = kept.stat().st_mtime_ns, [project.checkpoint(file.stem).sha256 for file in lost]
    for file in lost:
        file.unlink()
    copy.run(EVERY_ARM, only_missing_outputs=True)
    assert [copy.checkpoint(file.stem).sha256 for file in lost] == expected
    assert kept.stat().st_mtime_ns == before


def test_models_of_other_sets_are_refused(project, tmp_path):
    """The new transfer set may hold what the students learned from."""
    copy = project.copy(tmp_path / "copy")
    copy.run({"seed": 1}, pipeline="data_preparation")
    with pytest.raises(RunError, match="learned from other images than the present sets"):
        copy.run({"seed": 1}, pipeline="target_distillation")
    with pytest.raises(RunError, match="made with seed 1, this run has 0: run --pipelines=data_preparation first"):
        copy.run(pipeline="target_distillation")


def test_data_is_set_where_the_catalog_reads_it(tmp_path):
    project = Project(tmp_path / "local")
    (project.path / "conf" / "local" / "parameters.yml").write_text("data: {source: mnist}")
    with pytest.raises(RunError, match=r"which is for globals.yml"):
        project.run()


def test_the_roster_is_configuration(tmp_path):
    """Another student, two rounds, no reference arms: other YAML, same code."""
    project = Project(tmp_path)
    second = {"architecture": {"kind": "resnet8", "width": 0.25}, "recipe": {"epochs": 1}}
    stacked = {"target_distillation": {"distillation": {"fusion": "stacked"}}}
    students = {"second_resnet8": second, "squeezenet": None}
    project.run({"rounds": 2, "students": students, "evaluation": {"controls": False}, **stacked})
    rows = project.report("summary")["rows"]
    after = {(row["model"], row["round"]) for row in rows if row["stage"] == "after"}
    roster = (*STUDENTS[:2], "second_resnet8")
    assert after == {(name, round_) for name in roster for round_ in (1, 2)}
    taught = {(row["model"], row["round"]) for row in rows if row["stage"] == "taught"}
    assert taught == {(f"{name}_taught", round_) for name in ("vgg19", *roster) for round_ in (1, 2)}
    assert "vgg19@1" in project.checkpoint("vgg19_taught_round2").facts.parents
    for name in ("vgg19", *roster):
        candidates = project.checkpoint(f"{name}_round2").facts.validation_nll
        assert list(candidates) == [f"{name}@1", f"{name}_taught@2"], "no arm, and as the first round left it"
    assert project.checkpoint("second_resnet8_round0").facts.recipe["epochs"] == 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rouns": 2}, "unknown key 'rouns'; did you mean 'rounds'"),
        ({"student_training": {"recipe": {"lerning_rate": 1}}}, "did you mean 'learning_rate'"),
        ({"devices": "cudaa"}, "'cudaa' is no device"),
        ({"data": {"source": "cifar01"}}, "unknown source 'cifar01'; did you mean 'cifar10'"),
        ({"data": {"source": "folder", "path": "nowhere"}}, r"no folder .*nowhere"),
    ],
)
def test_bad_input_stops_before_the_first_fit(tmp_path, params, message):
    project = Project(tmp_path)
    with pytest.raises(RunError, match=message):
        project.run(params)
    assert not list(project.path.rglob("*.safetensors"))


def test_a_stage_alone_and_a_later_start(project, tmp_path):
    copy = project.copy(tmp_path / "copy")
    weights, report = copy.file("06_models/vgg19_round1.safetensors"), copy.file("08_reporting/report.html")
    weights.unlink()
    copy.run(pipeline="target_distillation")
    assert copy.checkpoint("vgg19_round1").sha256 == project.checkpoint("vgg19_round1").sha256
    report.unlink()
    copy.run(from_nodes=["evaluation.write_report"])
    assert report.is_file()


def test_same_seed_same_bits_another_seed_others(project, tmp_path):
    again = Project(tmp_path / "again")
    again.run(to_nodes=["reverse_distillation.accept_resnet8_round1"])
    for name in ("vgg19_taught_round1", "vgg19_round1", "resnet8_taught_round1", "resnet8_round1"):
        assert again.checkpoint(name).sha256 == project.checkpoint(name).sha256
    again.run({"seed": 1}, to_nodes=["student_training.train_resnet8"])
    assert again.checkpoint("resnet8_round0").sha256 != project.checkpoint("resnet8_round0").sha256


def test_an_environment_has_its_own_folder(project):
    """A quick run must not overwrite the results of a long one."""
    with project.session(env="full") as session:
        catalog = session.load_context().catalog
        assert "data/full/06_models" in str(catalog["vgg19_round1_checkpoint"]._describe()["filepath"])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Matplotlib beside torch's tensors
def test_the_notebook_runs(project, monkeypatch, capsys):
    models = project.file("06_models")
    before = {path: path.stat().st_mtime_ns for path in models.iterdir()}
    figures, displayed = project.run_notebook("bidirectional", monkeypatch)
    assert (figures, len(displayed)) == (3, 3)
    assert "bidirectional in base" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in models.iterdir()} == before
