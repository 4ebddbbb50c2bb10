"""What the settings of the studies take, and what they refuse by name."""

import pytest

from knowledge_transfer import settings
from knowledge_transfer.experiment.loader import ExperimentConfigLoader
from knowledge_transfer.hooks.parameters import ParametersError, Parts
from tests.project import ROOT, Project, merged

ENVIRONMENTS = ("base", "small", "full")


def loader(environment="base", **params):
    return ExperimentConfigLoader(
        str(ROOT / "conf"), env=environment, runtime_params=params, **settings.CONFIG_LOADER_ARGS
    )


def study(name, changes=None, environment="base", **params):
    """Return the checked settings of a study, or raise what is wrong with them."""
    given = loader(environment, **params)["parameters"]
    found = Parts({**given, name: merged(given[name], changes or {})})[name]
    if isinstance(found, Exception):
        raise found
    return found


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("name", ["alpha_study", "dark_knowledge"])
def test_the_shipped_studies_are_valid(name, environment):
    checked = study(name, environment=environment)
    assert checked.seeds >= 3
    assert list(checked.sets) == [{"alpha_study": "digits", "dark_knowledge": "shapes"}[name]] * (
        environment == "base"
    ) or list(checked.sets) == ["cifar10"]


def test_the_full_alpha_study_is_the_published_one():
    checked = study("alpha_study", environment="full")
    of_cifar = checked.sets["cifar10"]
    assert checked.alphas == (0, 0.5, 1)
    assert (of_cifar.teacher.architecture.kind, of_cifar.teacher.recipe.epochs) == ("alexnet", 20)
    layers = of_cifar.learner.architecture.layers
    assert (len(layers.convolutions), len(layers.hidden) + 1) == (2, 3)
    assert of_cifar.learner.recipe.optimizer == "sgd"
    assert of_cifar.learner.recipe.augmentation.crop
    assert of_cifar.learner.recipe.augmentation.flip


def test_the_full_dark_knowledge_is_published():
    checked = study("dark_knowledge", environment="full")
    of_cifar = checked.sets["cifar10"]
    assert checked.weights == "imagenet"
    assert (checked.distillation.alpha, checked.distillation.temperature, checked.distillation.loss) == (0.5, 1, "kl")
    assert of_cifar.teacher.architecture.kind == "imagenet_resnet50"
    assert of_cifar.teacher.architecture.enlarge_to in (None, 224)
    assert of_cifar.cnn.recipe.epochs == of_cifar.small_cnn.recipe.epochs == 10


def test_a_set_without_a_block_is_out():
    digits = loader()["parameters"]["alpha_study"]["sets"]["digits"]
    assert list(study("alpha_study", {"sets": {"digits": None, "mine": digits}}).sets) == ["mine"]


def test_a_failure_mode_without_a_block_is_out():
    failure_modes = study("dark_knowledge").sets["shapes"].failure_modes
    fewer = (
        study("dark_knowledge", {"sets": {"shapes": {"failure_modes": {"softmax_twice": None}}}})
        .sets["shapes"]
        .failure_modes
    )
    assert list(fewer) == [name for name in failure_modes if name != "softmax_twice"]


def test_a_study_takes_seed_and_devices_of_main():
    assert study("alpha_study").seed == 0
    assert study("alpha_study", seed=5).seed == 5
    assert study("alpha_study", seed=5, alpha_study={"seed": 7}).seed == 7
    assert study("alpha_study", devices="cpu").devices == "cpu"
    assert study("alpha_study", alpha_study={"seed": 7}).seed == 7


def test_arms_differ_in_alpha_alone():
    arms = study("alpha_study", {"alphas": [0, 0.25, 1]}).arms
    assert list(arms) == ["alpha 0", "alpha 0.25", "alpha 1"]
    assert [arm.alpha for arm in arms.values()] == [0, 0.25, 1]
    assert {arm.temperature for arm in arms.values()} == {4}


def test_the_arm_alone_differs_in_alpha_alone():
    arms = study("dark_knowledge").arms
    assert (arms["taught"].alpha, arms["alone"].alpha) == (0.5, 0)
    assert arms["alone"].model_copy(update={"alpha": 0.5}) == arms["taught"]


def of_set(study, **changes):
    """Return changes of the data set that the study has in conf/base."""
    return {"sets": {"shapes" if study == "dark_knowledge" else "digits": changes}}


VIEWS = {"recipe": {"epochs": 3, "views": 3}}
POINTS = {"temperatures": [1], "alphas": [1], "losses": ["kll"]}
REFUSED = [
    ("alpha_study", {"alphas": [0, 0.5, 0.5]}, "an alpha occurs twice"),
    ("alpha_study", {"alphas": [0, 1.5]}, "alpha_study.alphas.1: .*less than or equal to 1"),
    ("alpha_study", {"alphas": []}, "alpha_study.alphas"),
    ("alpha_study", {"alpha": [0, 1]}, "alpha_study: unknown key 'alpha'; did you mean 'alphas'"),
    ("alpha_study", {"learnr": {}}, "alpha_study.sets.digits: unknown key 'learnr'; did you mean 'learner'"),
    ("alpha_study", {"teacher": {"recipe": {"epoch": 1}}}, "did you mean 'epochs'"),
    ("alpha_study", {"sets": {"digits": None}}, "alpha_study.sets"),
    ("alpha_study", {"seeds": 0}, "alpha_study.seeds"),
    ("alpha_study", {"sets": {"pumpkin_seeds": {}}}, "sets.pumpkin_seeds"),
    ("alpha_study", {"distillation": {"loss": "dkd"}}, "dkd.*alpha 1 withholds"),
    ("alpha_study", {"distillation": {"fusion": "stacked"}}, "one teacher, so no top_k and no fusion 'stacked'"),
    ("alpha_study", {"distillation": {"student_set": True}}, "distillation.student_set is for the stages of the main"),
    (
        "alpha_study",
        {"learner": {"architecture": {"layers": {"dropout": [0.1] * 9}}}},
        "9 dropouts, 4 blocks and hidden layers: leave some out",
    ),
    ("dark_knowledge", {"suspects": {}}, "unknown key 'suspects': it is called 'failure_modes' now"),
    ("dark_knowledge", {"failure_mode": {}}, "unknown key 'failure_mode'; did you mean 'failure_modes'"),
    (
        "dark_knowledge",
        {"failure_modes": {"no_normalisation": VIEWS}},
        "no_normalisation would see other .*the same views",
    ),
    ("dark_knowledge", {"small_cnn": {"recipe": {"augmentation": {"flip": True}}}}, "small_cnn would see other views"),
    ("dark_knowledge", {"failure_modes": {"a-b": {"architecture": {"kind": "resnet8"}}}}, "'a-b' names datasets"),
    ("dark_knowledge", {"distillation": {"fusion": "separate"}}, "one teacher, so no top_k and no fusion 'separate'"),
    (
        "dark_knowledge",
        {"weights": "imagenet"},
        r"'imagenet' are of an imagenet_resnet50 of width 1, sets.shapes.teacher is a .*0.125.*weights to null",
    ),
    ("student_ensemble", {"distillation": {"top_k": 2}}, "there is one teacher, so no top_k"),
    ("student_ensemble", {"grid": {"widths": [2], "kernels": [3], "members": 1}}, "one member is no ensemble"),
    ("student_ensemble", {"grid": {"widths": [2, 2]}}, "occurs twice"),
    ("student_ensemble", {"grid": {"width": [2]}}, "did you mean 'widths'"),
    ("student_ensemble", {"student": {"recipe": {"views": 3}}}, "one labelling"),
    ("student_ensemble", {"sweep": POINTS}, "unknown loss 'kll'"),
    ("multi_teacher", {"members": [2, 2]}, "members: a value occurs twice"),
    ("multi_teacher", {"members": [1]}, "greater than or equal to 2"),
    ("multi_teacher", {"methods": ["output_average"]}, "output_avg"),
    ("multi_teacher", {"distillation": {"top_k": 1}}, "leave it out"),
    ("multi_teacher", {"distillation": {"loss": "dkd"}, "alphas": [1]}, "alpha 1 withholds"),
    ("multi_teacher", {"fractions": [1]}, "less than 1"),
    ("multi_teacher", {"distillation": {"gamma": 3}}, "distillation.gamma is for the stages of the main experiment"),
    (
        "multi_teacher",
        {"learner": {"architecture": {"heads": 3}}},
        "sets.digits.learner.architecture.heads: mimic_all sets the heads",
    ),
]
OF_SETS = {
    "learnr", "teacher", "learner", "suspects", "failure_mode", "failure_modes", "small_cnn", "grid", "student",
    "sweep",
}  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "message"), REFUSED)
def test_unusable_settings_are_refused_by_name(name, changes, message):
    with pytest.raises(ParametersError, match=message):
        study(name, of_set(name, **changes) if OF_SETS & changes.keys() else changes)


def test_weights_unknown_to_the_catalog_are_refused(tmp_path):
    """Parameters and catalog must name the same file."""
    project = Project(tmp_path)
    with project.session({"dark_knowledge": {"weights": None}}, env="full") as session:
        assert session.load_context().params["dark_knowledge"]["weights"] is None
    local = project.path / "conf" / "local" / "parameters_dark_knowledge.yml"
    local.write_text("dark_knowledge: {weights: /somewhere/else.pth}")
    with pytest.raises(ParametersError, match=r"dark_knowledge.weights \(/somewhere/else.pth\).*globals.yml \(None\)"):
        project.session(env="local").load_context()


def test_weights_of_the_command_line_reach_the_catalog(tmp_path):
    project = Project(tmp_path)
    full_width = {"sets": {"shapes": {"teacher": {"architecture": {"width": 1}}}}}
    params = {"dark_knowledge": {"weights": "/mine.pth", **full_width}}
    with project.session(params) as session:
        context = session.load_context()
        assert context.catalog["dark_knowledge_pretrained_weights"]._describe()["weights"] == "/mine.pth"
        assert context.params["dark_knowledge"]["weights"] == "/mine.pth"


def test_a_set_is_not_named_like_a_seed():
    digits = loader()["parameters"]["alpha_study"]["sets"]["digits"]
    with pytest.raises(ParametersError, match=r"'pumpkin_seeds' names datasets: .* not '_seed'"):
        study("alpha_study", {"sets": {"pumpkin_seeds": digits}})


def test_params_of_one_study_leave_others_alone():
    both = {"student_ensemble": {"seeds": 2}, "alpha_study": {"seed": 5}}
    assert study("alpha_study", seed=1, **both).seed == 5
    assert study("student_ensemble", seed=1, **both).seed == 1
