"""The alpha study through Kedro, once, on 120 digits."""

import json
import shutil

import nbformat
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from nbclient import NotebookClient

from knowledge_transfer.datasets import CheckpointDataset, SoftLabelsDataset
from knowledge_transfer.errors import RunError
from tests.project import ROOT, Project

RECIPE = {"epochs": 2, "batch_size": 16, "views": 2, "precision": "fp32"}
TINY = {
    "seeds": 2,
    "sets": {
        "digits": {
            "data": {"limit": 120, "test_limit": 60},
            "teacher": {"architecture": {"width": 0.125}, "recipe": {**RECIPE, "epochs": 1}},
            "learner": {
                "architecture": {"layers": {"convolutions": [[4], [4]], "hidden": [8, 8]}},
                "recipe": RECIPE,
            },
        }
    },
}
LEARNERS = [f"digits_alpha{alpha}_seed{seed}" for alpha in ("0", "0_5", "1") for seed in (0, 1)]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("alpha_study"))
    project.run({"alpha_study": TINY}, pipeline="alpha_study")
    return project


def checkpoint(project, name):
    return CheckpointDataset(filepath=str(project.file(f"06_models/alpha_study_{name}.safetensors"))).load()


def table(project, name):
    return pd.read_csv(project.file(f"08_reporting/alpha_study_{name}_table.csv"))


def test_every_learner_has_its_alpha_and_all_else_is_equal(project):
    learners = {name: checkpoint(project, name).facts for name in LEARNERS}
    assert {name: facts.distillation["alpha"] for name, facts in learners.items()} == {
        name: {"alpha0": 0, "alpha0_5": 0.5, "alpha1": 1}[name.split("_", 1)[1].rpartition("_seed")[0]]
        for name in LEARNERS
    }
    assert len({str({**facts.distillation, "alpha": None}) for facts in learners.values()}) == 1
    assert len({facts.architecture for facts in learners.values()}) == 1
    assert len({str(facts.recipe) for facts in learners.values()}) == 1
    # Of one seed all start alike, of another otherwise.
    assert [facts.seed for facts in learners.values()] == [learners[LEARNERS[0]].seed, learners[LEARNERS[1]].seed] * 3
    assert len({facts.sha256 for facts in learners.values()}) == len(LEARNERS)


def test_all_learn_from_one_labelling_by_the_one_teacher(project):
    teacher = checkpoint(project, "digits_teacher")
    labels = SoftLabelsDataset(
        filepath=str(project.file("07_model_output/alpha_study_digits_teacher_soft_labels.safetensors"))
    ).load()
    assert labels.facts.teachers == {"digits_teacher@0": teacher.sha256}
    assert labels.facts.views == 2
    for name in LEARNERS:
        assert checkpoint(project, name).facts.parents == {"digits_teacher@0": teacher.sha256}


def test_the_three_sets_are_told_apart(project):
    scores = table(project, "digits_scores")
    assert scores.groupby("set")["images"].unique().map(list).to_dict() == {
        "training": [100],
        "validation": [20],
        "test": [60],
    }
    assert scores["accuracy"].between(0, 1).all()
    assert len(scores) == 3 * (1 + len(LEARNERS))


def test_the_arms_stand_in_one_table_with_paired_differences(project):
    arms, scores = table(project, "arms"), table(project, "digits_scores")
    assert arms["arm"].tolist() == ["teacher", "alpha 0", "alpha 0.5", "alpha 1"]
    assert arms["seeds"].tolist() == [1, 2, 2, 2]
    test = scores[scores["set"] == "test"].set_index("model")["accuracy"]
    means = [test[LEARNERS[2 * number : 2 * number + 2]].mean() for number in range(3)]
    assert arms["test"].tolist()[1:] == pytest.approx(means)
    assert arms["difference"].isna().tolist() == [True, True, False, False]
    assert arms["difference"].tolist()[2:] == pytest.approx([means[1] - means[0], means[2] - means[0]])
    assert set(arms["verdict"].dropna()) <= {"gain", "loss", "none", "not beyond chance"}


def test_the_curves_of_all_arms_are_in_one_table_and_figure(project):
    curves = table(project, "digits_curves")
    assert curves.groupby("arm")["seed"].unique().map(list).to_dict() == {
        "teacher": [0],
        **{f"alpha {alpha}": [0, 1] for alpha in ("0", "0.5", "1")},
    }
    assert project.file("08_reporting/figures/alpha_study_digits_curves.png").is_file()


def test_the_page_says_what_alpha_did_and_how_the_source_names_it(project):
    page = project.file("08_reporting/alpha_study_report.html").read_text()
    for part in (
        "digits: the teacher is right on",
        "; alpha 0 on",
        "alpha 0.5 on",
        "It weights the hard loss",
        "--pipelines=alpha_study",
        "<svg",
    ):
        assert part in page
    assert "nan" not in page.lower().replace("<nan", "")


def test_the_summary_has_a_row_for_everyone(project):
    summary = json.loads(project.file("08_reporting/alpha_study_summary.json").read_text())
    assert [row["model"] for row in summary["rows"]] == ["digits_teacher", *LEARNERS]
    assert {row["stage"] for row in summary["rows"]} == {"digits_teacher", "digits_learner"}
    assert all(0 <= row["accuracy"] <= 1 and row["parameters"] > 0 for row in summary["rows"])


def test_mlflow_has_a_child_for_every_fit(project):
    client = MlflowClient(f"sqlite:///{project.path / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "alpha_study"]
    runs = client.search_runs([experiment.experiment_id])
    children = sorted(run.info.run_name for run in runs if "mlflow.parentRunId" in run.data.tags)
    assert children == sorted(["digits_teacher", *LEARNERS])
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_the_notebook_tells_the_story_of_a_finished_run(project):
    folder = project.path / "notebooks"
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "notebooks" / "alpha_study.ipynb", folder)
    notebook = nbformat.read(folder / "alpha_study.ipynb", as_version=4)
    assert not any(cell.outputs for cell in notebook.cells if cell.cell_type == "code"), "committed with outputs"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert any("alpha_study in base" in output.get("text", "") for output in outputs)


def test_a_study_goes_on_where_it_was_cut_short_with_the_same_images_alone(project, tmp_path):
    copy = Project(tmp_path / "copy")
    shutil.copytree(project.path / "data", copy.path / "data")
    lost, kept = (copy.file(f"06_models/alpha_study_{name}.safetensors") for name in LEARNERS[:2])
    before, unchanged = checkpoint(copy, LEARNERS[0]).sha256, kept.stat().st_mtime_ns
    lost.unlink()
    with pytest.raises(RunError, match="made with other parameters"):
        copy.run({"alpha_study": TINY, "data": {"image_size": 48}}, pipeline="alpha_study", only_missing_outputs=True)
    copy.run({"alpha_study": TINY}, pipeline="alpha_study", only_missing_outputs=True)
    assert checkpoint(copy, LEARNERS[0]).sha256 == before
    assert kept.stat().st_mtime_ns == unchanged
    # A second run that was cut short after its images: what the first has left is made again.
    copy.run({"alpha_study": TINY}, pipeline="alpha_study", to_nodes=["digits.cut_digits"])
    copy.run({"alpha_study": TINY}, pipeline="alpha_study", only_missing_outputs=True)
    assert kept.stat().st_mtime_ns > unchanged
    assert checkpoint(copy, LEARNERS[0]).sha256 == before
