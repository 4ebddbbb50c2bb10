"""The alpha study through Kedro, once, on 120 digits."""

import pytest

from knowledge_transfer.errors import RunError
from tests.studies import Study

RECIPE = {"epochs": 2, "batch_size": 16, "views": 2, "precision": "fp32"}
TINY = {
    "seeds": 2,
    "alphas": [0, 0.5],
    "sets": {
        "digits": {
            "data": {"limit": 120, "test_limit": 60},
            "teacher": {"architecture": {"width": 0.125}, "recipe": {**RECIPE, "epochs": 1}},
            "learner": {"architecture": {"layers": {"convolutions": [[4], [4]], "hidden": [8, 8]}}, "recipe": RECIPE},
        }
    },
}
ALPHAS = {f"digits_alpha{name}_seed{seed}": alpha for name, alpha in (("0", 0), ("0_5", 0.5)) for seed in (0, 1)}
LEARNERS = list(ALPHAS)


@pytest.fixture(scope="module")
def study(run_once):
    return Study(run_once, "alpha_study", TINY, tracked=True)


def test_learners_differ_in_alpha_alone(study):
    learners = {name: study.facts(name) for name in LEARNERS}
    assert {name: facts.distillation["alpha"] for name, facts in learners.items()} == ALPHAS
    assert len({str({**facts.distillation, "alpha": None}) for facts in learners.values()}) == 1
    assert len({(str(facts.architecture), str(facts.recipe)) for facts in learners.values()}) == 1
    first, second = (learners[name].seed for name in LEARNERS[:2])
    assert [facts.seed for facts in learners.values()] == [first, second] * 2, "one seed, the same start"
    assert first != second
    assert len({facts.sha256 for facts in learners.values()}) == len(LEARNERS)


def test_all_learn_from_one_labelling(study):
    teacher, labels = study.facts("digits_teacher"), study.load("digits_teacher_soft_labels").facts
    assert labels.teachers == {"digits_teacher@0": teacher.sha256}
    assert labels.views == 2
    for name in LEARNERS:
        assert study.facts(name).parents == {"digits_teacher@0": teacher.sha256}


def test_arms_have_paired_differences_over_seeds(study):
    arms, scores = study.load("arms_table"), study.load("digits_scores_table")
    sizes = scores.groupby("set")["images"].unique().map(list).to_dict()
    assert sizes == {"training": [100], "validation": [20], "test": [60]}
    assert scores["accuracy"].between(0, 1).all()
    assert len(scores) == 3 * (1 + len(LEARNERS))
    assert arms["arm"].tolist() == ["teacher", "alpha 0", "alpha 0.5"]
    assert arms["seeds"].tolist() == [1, 2, 2]
    test = scores[scores["set"] == "test"].set_index("model")["accuracy"]
    means = [test[LEARNERS[:2]].mean(), test[LEARNERS[2:]].mean()]
    assert arms["test"].tolist()[1:] == pytest.approx(means)
    assert arms["difference"].isna().tolist() == [True, True, False]
    assert arms["difference"].iloc[2] == pytest.approx(means[1] - means[0])
    assert arms["verdict"].iloc[2] in {"gain", "loss", "none", "not beyond chance"}


def test_curves_of_all_arms_are_drawn(study):
    curves = study.load("digits_curves_table")
    assert curves.groupby("arm")["seed"].unique().map(list).to_dict() == {
        "teacher": [0],
        "alpha 0": [0, 1],
        "alpha 0.5": [0, 1],
    }
    assert study.project.file("08_reporting/figures/alpha_study_digits_curves.png").is_file()


def test_the_page_says_what_alpha_did(study):
    found = ("digits: the teacher is right on", "; alpha 0 on", "alpha 0.5 on", "It weights the hard loss", "<svg")
    for part in (*found, "--pipelines=alpha_study"):
        assert part in study.page
    assert "nan" not in study.page.lower().replace("<nan", "")


def test_the_summary_has_every_model(study):
    assert [row["model"] for row in study.rows] == ["digits_teacher", *LEARNERS]
    assert {row["stage"] for row in study.rows} == {"digits_teacher", "digits_learner"}
    assert all(0 <= row["accuracy"] <= 1 and row["parameters"] > 0 for row in study.rows)


def test_every_fit_is_a_child_run(study):
    _, parents, children = study.project.mlflow_runs("alpha_study")
    assert sorted(run.info.run_name for run in children) == sorted(["digits_teacher", *LEARNERS])
    assert {run.info.status for run in (*parents, *children)} == {"FINISHED"}


def test_the_notebook_runs(study, monkeypatch, capsys):
    assert study.run_notebook(monkeypatch) == 2
    assert "alpha_study in base" in capsys.readouterr().out


def test_a_study_resumes_with_the_same_images(study, tmp_path):
    copy = study.project.copy(tmp_path / "copy")
    lost, kept = (copy.file(f"06_models/alpha_study_{name}.safetensors") for name in LEARNERS[:2])
    unchanged = kept.stat().st_mtime_ns
    lost.unlink()
    with pytest.raises(RunError, match="made with other parameters"):
        copy.run({"alpha_study": TINY, "data": {"image_size": 48}}, pipeline="alpha_study", only_missing_outputs=True)
    copy.run({"alpha_study": TINY}, pipeline="alpha_study", only_missing_outputs=True)
    assert copy.checkpoint(lost.stem).sha256 == study.facts(LEARNERS[0]).sha256
    assert kept.stat().st_mtime_ns == unchanged
    # A second run was interrupted after its images: the outputs of the first are recomputed.
    copy.run({"alpha_study": TINY}, pipeline="alpha_study", to_nodes=["digits.split_digits"])
    copy.run({"alpha_study": TINY}, pipeline="alpha_study", only_missing_outputs=True)
    assert kept.stat().st_mtime_ns > unchanged
