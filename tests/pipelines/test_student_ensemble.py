"""The study of many tiny students, once through Kedro on few images."""

import math
import re
import shutil

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient

from knowledge_transfer.hooks.parameters import check_parts
from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.pipelines.student_ensemble import figures, tables
from knowledge_transfer.pipelines.student_ensemble.nodes import best_point, counted_as_published
from tests.project import ROOT, Project

_RECIPE = {"epochs": 2, "batch_size": 16, "learning_rate": 0.1, "precision": "fp32", "views": 1}
TINY = {
    "student_ensemble": {
        "seeds": 2,
        "sets": {
            "digits": {
                "data": {"limit": 300, "test_limit": 80},
                "teacher": {
                    "architecture": {"kind": "cnn", "layers": {"convolutions": [[4], [4]], "hidden": [16]}},
                    "recipe": _RECIPE,
                },
                "student": {
                    "architecture": {"kind": "cnn", "layers": {"convolutions": [[4], [4]], "hidden": [8]}},
                    "recipe": _RECIPE,
                },
                "grid": {
                    "widths": [1, 2], "kernels": [3], "hidden": [4], "members": 2, "recipe": _RECIPE,
                },
                "sweep": {
                    "shape": {"width": 1, "kernel": 3, "hidden": 4},
                    "temperatures": [10], "alphas": [0, 0.25], "losses": ["soft_cross_entropy", "kl"],
                },
                "boosting": {"shape": {"width": 5, "kernel": 3, "hidden": 16}, "members": 2},
            }
        },
    }
}  # fmt: skip
DIGITS = TINY["student_ensemble"]["sets"]["digits"]


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("student_ensemble"))
    project.run(TINY, pipeline="student_ensemble")
    return project


def load(study, name):
    with study.session(TINY) as session:
        return session.load_context().catalog.load(f"student_ensemble_{name}")


def test_every_size_of_ensemble_is_there_and_the_chosen_one_is_best_on_validation(study):
    sizes = load(study, "digits_sizes_table")
    for (_, _, order), own in sizes.groupby(["arm", "seed", "order"]):
        assert list(own["members"]) == [1, 2, 3, 4]
        assert own["parameters"].is_monotonic_increasing
        if order == tables.SMALLEST_FIRST:
            assert not own["is_chosen"].any()
        else:
            chosen = own[own["is_chosen"]]
            assert len(chosen) == 1
            assert chosen["validation"].iloc[0] == own["validation"].max()
            assert chosen["members"].iloc[0] == own.loc[own["validation"] == own["validation"].max(), "members"].min()


def test_every_rule_speaks_for_the_chosen_and_for_all(study):
    rules = load(study, "digits_rules_table")
    taught = rules[rules["arm"] == "members"]
    for _, own in taught.groupby(["seed", "ensemble"]):
        assert set(own["rule"]) == {*FUSION_RULES, *VOTING_RULES}
    whole = taught[(taught["ensemble"] == "all") & (taught["rule"] == "mean_probabilities")].set_index("seed")
    sizes = load(study, "digits_sizes_table")
    grown = sizes[(sizes["arm"] == "members") & (sizes["order"] == tables.BEST_FIRST) & (sizes["members"] == 4)]
    assert whole["test"].to_dict() == pytest.approx(grown.set_index("seed")["test"].to_dict())


def test_nothing_that_was_trained_is_lost(study):
    members = load(study, "digits_members_table").set_index("model")
    kept = load(study, "digits_conv2_kernel3_linear4_checkpoints")
    assert [each.facts.name for each in kept] == [
        f"digits_conv2_kernel3_linear4_seed{seed}_member{number}" for seed in (0, 1) for number in (0, 1)
    ]
    for each in kept:
        row = members.loc[each.facts.name]
        assert row["sha256"] == each.sha256
        assert row["parameters"] == each.facts.parameters == sum(p.numel() for p in each.build().parameters())
        assert row["arm"] == "members"
        assert each.facts.parents.keys() == {"digits_teacher@0"}
    assert len({each.sha256 for each in kept}) == 4
    untaught = load(study, "digits_labels_conv2_kernel3_linear4_checkpoints")
    assert all(not each.facts.parents and each.facts.distillation is None for each in untaught)
    assert [each.facts.seed for each in untaught] == [each.facts.seed for each in kept]


def test_the_first_boosted_member_is_the_first_of_the_others(study):
    """Only its images' weights make a boosted member another."""
    equal = load(study, "digits_equal_checkpoints")
    boosted = load(study, "digits_boosted_seed1_checkpoints")
    rounds = load(study, "digits_boosted_seed1_rounds_table")
    assert boosted[0].sha256 == equal[2].sha256, "of the second seed"
    assert boosted[1].sha256 != equal[3].sha256
    assert boosted[1].facts.parents["digits_boosted_seed1_member0@0"] == boosted[0].sha256
    assert rounds["error"].between(0, 1).all()
    first = rounds["error"].iloc[0]
    assert rounds["weight"].iloc[0] == pytest.approx(max(0, math.log((1 - first) / first) + math.log(9)))


def test_temperature_alpha_and_loss_are_chosen_on_validation(study):
    sweep, points = load(study, "digits_sweep_table"), load(study, "digits_points_table")
    means = sweep.groupby("point", sort=False)["validation"].mean()
    assert list(means.index) == ["alpha0", "soft_cross_entropy_temperature10_alpha0_25", "kl_temperature10_alpha0_25"]
    assert means[best_point(sweep)] == means.max()
    best = points[points["role"].str.contains("best on validation")]
    assert best["validation"].iloc[0] == pytest.approx(means.max())
    asked = load(study, "digits_sweep_answers_soft_labels").members
    wanted = {best_point(sweep), "alpha0", "soft_cross_entropy_temperature10_alpha0_25"}
    assert {key.partition("_seed")[0].removeprefix("digits_sweep_") for key in asked} == wanted


def test_the_page_and_the_summary_say_what_came_out(study):
    page = study.file("08_reporting/student_ensemble_report.html").read_text()
    for heading in ("Every arm", "how many members", "how members are fused", "temperature and weight", "boosting"):
        assert heading in page
    assert page.count("<svg") == 3
    assert "100,752" in page
    assert "<script" not in page
    rows = {row["model"]: row for row in load(study, "summary")["rows"]}
    arms = load(study, "arms_table").drop_duplicates("arm").set_index("arm")
    assert rows["student"]["accuracy"] == pytest.approx(arms.loc["student", "test"])
    assert arms.loc["student", "seeds"] == 2
    assert {"teacher", "chosen", "all_on_labels", "boosted", "equal"} <= rows.keys()


def test_a_cell_is_one_run_in_mlflow(study):
    import sqlite3

    with sqlite3.connect(study.path / "mlflow.db") as database:
        names = [name for (name,) in database.execute("select name from runs")]
    assert sum("conv2_kernel3_linear4" in name for name in names) == 2, names


def test_parameters_are_counted_as_the_source_counts_them():
    def network(convolutions, hidden):
        return Architecture(kind="cnn", layers={"convolutions": convolutions, "kernel": 5, "hidden": [hidden]})

    assert counted_as_published(network([[8], [8]], 256), 28) == 100_752
    assert counted_as_published(network([[32], [64]], 1024), 28) == 3_213_664
    grid = [
        Architecture(kind="cnn", layers={"convolutions": [[c], [c]], "kernel": k, "hidden": [f]})
        for c in (4, 8, 16, 32) for k in (3, 5) for f in (32, 64, 128)
    ]  # fmt: skip
    assert sum(counted_as_published(each, 28) for each in grid) == 1_329_360, "of CIFAR-10, counted at 28 pixels"
    assert counted_as_published(Architecture(kind="resnet8"), 32) is None


def test_the_front_keeps_what_nothing_smaller_equals_on_validation():
    sizes = pd.DataFrame(
        {
            "arm": "members", "order": "smallest first", "members": [1, 2, 3], "parameters": [10, 20, 30],
            "validation": [0.7, 0.8, 0.8], "test": [0.7, 0.75, 0.9],
        }
    )  # fmt: skip
    singles = pd.DataFrame(
        {"arm": ["teacher", "student", "members"], "parameters": [100, 15, 5], "validation": [0.9, 0.6, 0.99],
         "test": [0.9, 0.99, 0.99]}
    )  # fmt: skip
    front = figures.pareto_front(sizes, singles)
    assert list(front["parameters"]) == [10, 20, 100]


def changed(**own):
    digits = {**DIGITS, **own}
    settings = {"seed": 0, "devices": "cpu", "sets": {"digits": digits}}
    return check_parts({"student_ensemble": settings})["student_ensemble"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"grid": {"widths": [2], "kernels": [3], "hidden": [4]}}, "one member is no ensemble"),
        ({"grid": {"widths": [2, 2], "kernels": [3], "hidden": [4]}}, "stands twice"),
        ({"grid": {"width": [2], "kernels": [3], "hidden": [4]}}, "did you mean 'widths'"),
        ({"student": {**DIGITS["student"], "recipe": {"views": 3}}}, "one labelling"),
        (
            {"sweep": {"shape": {"width": 1, "kernel": 3, "hidden": 4}, "temperatures": [1], "alphas": [1],
                       "losses": ["kll"]}},
            "unknown loss 'kll'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_by_name(own, message):
    with pytest.raises(Exception, match=message) as refusal:
        raise changed(**own)
    assert re.search(message, str(refusal.value))


def test_the_notebook_tells_the_story_of_a_finished_run(study):
    folder = study.path / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, dirs_exist_ok=True)
    notebook = nbformat.read(folder / "student_ensemble.ipynb", as_version=4)
    assert not any(cell.outputs for cell in notebook.cells if cell.cell_type == "code"), "committed without outputs"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert any("student_ensemble in base" in output.get("text", "") for output in outputs)
