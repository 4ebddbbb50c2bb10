"""The study dark_knowledge through Kedro, once, on 96 synthetic shapes."""

import pandas as pd
import pytest
import torch
from torchvision.models import resnet50

from knowledge_transfer.datasets import CheckpointDataset
from knowledge_transfer.errors import RunError
from knowledge_transfer.pipelines.dark_knowledge.nodes import finding
from knowledge_transfer.pipelines.dark_knowledge.summary_text import PUBLISHED
from tests.project import Project, merged
from tests.studies import Study

RECIPE = {"epochs": 2, "batch_size": 16, "precision": "fp32"}
LAYERS = {"convolutions": [[4], [4]], "hidden": [8]}
TINY = {
    "seeds": 2,
    "sets": {
        "shapes": {
            "data": {"limit": 96, "test_limit": 48, "validation_fraction": 0.25},
            "teacher": {"architecture": {"enlarge_to": 32}, "recipe": {**RECIPE, "epochs": 1}},
            "cnn": {"architecture": {"layers": LAYERS}, "recipe": RECIPE},
            "small_cnn": {"recipe": RECIPE},
            "failure_modes": {
                "rate_too_low": {"recipe": {**RECIPE, "learning_rate": 1e-9}},
                "bottleneck_of_two": {"recipe": RECIPE},
                **dict.fromkeys(
                    [
                        "no_normalisation",
                        "rate_too_high",
                        "too_high_but_normalised",
                        "adam_rate_too_high",
                        "softmax_twice",
                    ]
                ),
            },
        }
    },
}
LEARNERS = [
    f"shapes_{learner}_{arm}_seed{seed}"
    for learner in ("cnn", "small_cnn")
    for arm in ("taught", "alone")
    for seed in (0, 1)
]
FAILURE_MODES = [
    f"shapes_{name}_failure_mode_seed{seed}" for name in ("rate_too_low", "bottleneck_of_two") for seed in (0, 1)
]


@pytest.fixture(scope="module")
def study(run_once):
    return Study(run_once, "dark_knowledge", TINY)


def test_arms_differ_in_the_soft_loss_alone(study):
    for name in LEARNERS:
        if "_taught_" in name:
            taught, alone = (study.facts(each) for each in (name, name.replace("_taught_", "_alone_")))
            assert (taught.distillation["alpha"], alone.distillation["alpha"]) == (0.5, 0)
            assert {**alone.distillation, "alpha": 0.5} == taught.distillation
            assert taught.distillation["temperature"] == 1
            assert (taught.seed, taught.recipe, taught.images_sha256) == (alone.seed, alone.recipe, alone.images_sha256)
            assert taught.sha256 != alone.sha256


def test_the_teacher_enlarges_the_images(study):
    teacher = study.facts("shapes_teacher")
    assert (teacher.architecture.kind, teacher.architecture.enlarge_to) == ("imagenet_resnet50", 32)
    assert teacher.image_size == study.facts(LEARNERS[0]).image_size == 32
    assert teacher.parents == {}


def test_epochs_have_paired_differences(study):
    epochs, curves = study.load("epochs_table"), study.load("shapes_curves_table")
    assert epochs[["learner", "epoch"]].to_numpy().tolist() == [
        [learner, epoch] for learner in ("cnn", "small_cnn") for epoch in (1, 2)
    ]
    first = curves[(curves["learner"] == "cnn") & (curves["epoch"] == 1)]
    by_arm = first.groupby("arm")["validation_accuracy"].mean()
    assert epochs["taught"][0] == pytest.approx(by_arm["taught"])
    assert epochs["difference"][0] == pytest.approx(by_arm["taught"] - by_arm["alone"])


def test_arms_are_compared_on_the_test_set(study):
    arms, scores = study.load("arms_table"), study.load("shapes_scores_table")
    assert arms[["learner", "arm"]].to_numpy().tolist() == [
        ["teacher", "teacher"],
        *[[learner, arm] for learner in ("cnn", "small_cnn") for arm in ("taught", "alone")],
    ]
    assert scores[scores["set"] == "test"]["images"].unique().tolist() == [48]
    row = arms[(arms["learner"] == "small_cnn") & (arms["arm"] == "taught")].iloc[0]
    test = scores[(scores["set"] == "test") & (scores["learner"] == "small_cnn")].groupby("arm")["accuracy"].mean()
    assert row["test"] == pytest.approx(test["taught"])
    assert row["difference"] == pytest.approx(test["taught"] - test["alone"])


def test_failure_modes_never_see_the_test_set(study):
    assert not set(study.load("shapes_scores_table")["model"]) & set(FAILURE_MODES)
    modes = study.load("failure_modes_table").set_index("learner")
    assert list(modes.index) == ["cnn", "small_cnn", "rate_too_low", "bottleneck_of_two"]
    assert (modes["chance"] == 1 / 8).all()
    assert modes.loc["rate_too_low", "finding"].endswith("in 2 of 2: alive")
    assert modes.loc["rate_too_low", "at_chance"] == 2
    assert "learning_rate 1e-09" in modes.loc["rate_too_low", "differs"]
    assert modes.loc["bottleneck_of_two", "differs"] == "hidden [2]"
    assert pd.isna(modes.loc["small_cnn", "differs"])
    assert modes[["silent", "spread", "same_answer"]].stack().between(0, 1).all()


def rows(*of_seeds):
    return [
        {"accuracy": accuracy, "silent": silent, "chance": 0.1, "chance_error": 0.01} for accuracy, silent in of_seeds
    ]


@pytest.mark.parametrize(
    ("diagnosed", "words"),
    [
        (rows((0.6, 0.1), (0.5, 0.2)), "learns"),
        (rows((0.6, 0.1), (0.3, 0.2)), "learns, but badly"),
        (rows((0.10, 1), (0.09, 1)), "at chance in 2 of 2: dead"),
        (rows((0.12, 0.1), (0.10, 0.9)), "at chance in 2 of 2: alive"),
        (rows((0.12, 0.1), (0.6, 0.1), (0.5, 0.1)), "at chance in 1 of 3: alive"),
        (rows((0.12, 0.1), (0.10, 1)), "at chance in 2 of 2: dead in 1"),
    ],
)
def test_a_diagnosis_in_words(diagnosed, words):
    assert finding(diagnosed, 0.6) == words


def test_the_page_shows_the_published_figures(study):
    for value in (*PUBLISHED["taught"], *PUBLISHED["alone"]):
        assert f'<td class="number">{100 * value:.1f}</td>' in study.page
    for part in ("much smaller CNN", "rate too low", "of 2: alive", "--pipelines=dark_knowledge"):
        assert part in study.page
    assert study.page.count("<svg") == 2
    for name in ("epochs", "failure_modes"):
        assert study.project.file(f"08_reporting/figures/dark_knowledge_shapes_{name}.png").is_file()


def test_the_summary_has_every_judged_model(study):
    assert sorted(row["model"] for row in study.rows) == sorted(["shapes_teacher", *LEARNERS])
    assert {row["stage"] for row in study.rows} == {"shapes_teacher", "shapes_cnn", "shapes_small_cnn"}


def test_the_teacher_starts_from_pretrained_weights(tmp_path):
    torch.manual_seed(0)
    state = resnet50().state_dict()
    torch.save(state, tmp_path / "mine.pth")
    project = Project(tmp_path / "project")
    model = {"architecture": {"width": 1}, "recipe": {"learning_rate": 1e-6, "batch_size": 64}}
    few = {"limit": 32, "test_limit": 8}
    wide = {"weights": str(tmp_path / "mine.pth"), "sets": {"shapes": {"data": few, "teacher": model}}}
    project.run(
        {"dark_knowledge": merged(TINY, wide)}, pipeline="dark_knowledge", to_nodes=["shapes.train_shapes_teacher"]
    )
    file = project.file("06_models/dark_knowledge_shapes_teacher.safetensors")
    teacher = CheckpointDataset(filepath=str(file)).load()
    assert list(teacher.facts.parents) == [wide["weights"]]
    assert teacher.facts.mean == (0.485, 0.456, 0.406)
    torch.testing.assert_close(
        teacher.state["body.layer4.2.conv3.weight"], state["layer4.2.conv3.weight"], atol=1e-4, rtol=0
    )


def test_missing_weights_are_one_clear_error(tmp_path):
    project = Project(tmp_path)
    wide = {"weights": "/nowhere.pth", "sets": {"shapes": {"teacher": {"architecture": {"width": 1}}}}}
    with pytest.raises(RunError, match=r"no pretrained weights at /nowhere.pth.*weights: null"):
        project.run(
            {"dark_knowledge": merged(TINY, wide)}, pipeline="dark_knowledge", to_nodes=["shapes.train_shapes_teacher"]
        )


def test_the_notebook_runs(study, monkeypatch, capsys):
    assert study.run_notebook(monkeypatch) == 2
    assert "dark_knowledge in base" in capsys.readouterr().out
