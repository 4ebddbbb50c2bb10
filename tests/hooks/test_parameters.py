import pytest

from knowledge_transfer import settings
from knowledge_transfer.experiment.loader import ExperimentConfigLoader
from knowledge_transfer.hooks.parameters import (
    ParametersError,
    Parts,
    _require_weights_of_globals,
    check_parameters,
)


@pytest.fixture
def base():
    return ExperimentConfigLoader("conf", env="base", **settings.CONFIG_LOADER_ARGS)["parameters"]


def changed(parameters, path, value):
    *way, last = path.split(".")
    block = parameters
    for key in way:
        block = block[key]
    block[last] = value
    return parameters


@pytest.mark.parametrize("environment", ["base", "small", "full"])
def test_the_shipped_configurations_are_valid(environment):
    parameters = ExperimentConfigLoader("conf", env=environment, **settings.CONFIG_LOADER_ARGS)["parameters"]
    checked = check_parameters(parameters)
    assert list(checked.students) == ["simple_cnn", "resnet8", "resnet50", "squeezenet"]
    assert checked.target.architecture.kind == "vgg19"


def test_the_full_environment_is_the_published_experiment():
    loader = ExperimentConfigLoader("conf", env="full", **settings.CONFIG_LOADER_ARGS)
    checked = check_parameters(loader["parameters"])
    assert checked.data.source == "cifar10"
    assert checked.data_preparation.transfer_fraction == 0.3
    for stage in (checked.student_training, checked.target_distillation, checked.reverse_distillation):
        assert stage.recipe.epochs == 50
    assert {student.architecture.width for student in checked.students.values()} == {1.0}
    assert checked.target.architecture.width == 1.0


@pytest.mark.parametrize(
    ("environment", "domains", "epochs"),
    [
        ("base", ["digits", "glyphs", "shapes", "road_signs"], None),
        ("small", ["mnist", "cifar10", "fashion_mnist", "gtsrb"], None),
        ("full", ["mnist", "cifar10", "fashion_mnist", "gtsrb"], 50),
    ],
)
def test_the_shipped_mixes_are_the_second_experiment(environment, domains, epochs):
    loader = ExperimentConfigLoader("conf", env=environment, **settings.CONFIG_LOADER_ARGS)
    mix = Parts(loader["parameters"])["heterogeneous"]
    assert {name: student.domain for name, student in mix.students.items()} == dict(
        zip(("simple_cnn", "resnet8", "resnet50", "squeezenet"), domains, strict=True)
    )
    assert {"labels", "no_labels", "students_continued"} <= set(mix.reference_arms)
    stages = (mix.student_training, mix.target_distillation, mix.reverse_distillation)
    assert not any(stage.recipe.augmentation.flip for stage in stages), "neither digits nor road signs may be mirrored"
    assert epochs is None or {stage.recipe.epochs for stage in stages} == {epochs}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("sed", 1, "unknown key 'sed'; did you mean 'seed'"),
        ("student_training.recipe.epoch", 1, "student_training.recipe: unknown key 'epoch'; did you mean 'epochs'"),
        (
            "target_distillation.distillation.alpha",
            2,
            "target_distillation.distillation.alpha: .*less than or equal to 1",
        ),
        ("target.architecture.kind", "vgg16", "target.architecture.kind: .*'vgg19'"),
        (
            "target.architecture",
            {"kind": "torchvision:vgg20"},
            "target.architecture: .*torchvision has no network 'vgg20'",
        ),
        (
            "students.resnet8.architecture",
            {"kind": "mine:net"},
            "students.resnet8.architecture: .*there is no module 'mine'",
        ),
        ("students.resnet8.recipe", {"epoch": 3}, "students.resnet8: unknown key 'epoch'; did you mean 'epochs'"),
        ("students.resnet8.reverse_recipe", {"views": 3}, "share one labelling"),
        ("students", {}, "students is empty"),
        ("students", 1, r"students: a block of settings by name \(got 1\)"),
        ("target", "vgg19", r"target: a block of settings by name \(got 'vgg19'\)"),
        ("student_training.recipe.augmentation", "flip", r"augmentation: a block of settings by name \(got 'flip'\)"),
        ("target.name", "resnet8", "both called 'resnet8'"),
        ("target.name", "vgg-19", "'vgg-19' names datasets"),
        ("target.name", "resnet8_continued", "'resnet8_continued' is the name of another model of the run"),
        ("target.name", "resnet8_taught", "'resnet8_taught' is the name of another model of the run"),
        ("target.name", "resnet8_mutual", "'resnet8_mutual' is the name of another model of the run"),
        ("target.name", "ensemble", "not 'ensemble' in front"),
        ("target.normalisation", {"mean": [0.5], "deviation": [0]}, r"normalisation\.deviation.*greater than 0"),
        ("target.normalisation", {"mean": [0.5] * 3, "deviation": [1]}, "3 means, but 1 deviations"),
        ("reverse_distillation.distillation.top_k", 1, "has one teacher"),
        (
            "reverse_distillation.distillation.fusion",
            "stacked",
            "has one teacher, .* no fusion that is weighted, calibrated, boosted,",
        ),
        (
            "target_distillation.distillation",
            {"fusion": "stacked", "top_k": 2},
            "is fitted to all members: leave top_k",
        ),
        ("target_distillation.distillation.fusion", "staked", "unknown fusion 'staked'; did you mean 'stacked'"),
        ("students.resnet8.recipe", {"augmentation": {"mixup": 2}}, "less than or equal to 1"),
        ("target_distillation.distillation.top_k", 5, "top_k is 5, the roster has 4"),
        ("evaluation.controls", ["label"], "labels"),
        ("target_distillation.accept", "best", "target_distillation.accept: .*'validation' or 'always'"),
        ("reverse_distillation.accept", "never", "reverse_distillation.accept: .*'validation' or 'always'"),
        (
            "reverse_distillation.teacher",
            "student",
            "reverse_distillation.teacher: .*'target', 'target_and_students' or",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(base, path, value, message):
    with pytest.raises(ParametersError, match=message):
        check_parameters(changed(base, path, value))


@pytest.mark.parametrize("teacher", ["target_and_students", "students"])
def test_several_teachers_of_students_can_be_weighed(base, teacher):
    base["reverse_distillation"] |= {"teacher": teacher}
    base["reverse_distillation"]["distillation"] |= {"fusion": "calibrated", "top_k": 2}
    assert check_parameters(base).reverse_distillation.distillation.fusion == "calibrated"
    base["reverse_distillation"]["teacher"] = "target"
    with pytest.raises(ParametersError, match="has one teacher, the target"):
        check_parameters(base)


@pytest.mark.parametrize("stage", ["target_distillation", "reverse_distillation"])
def test_withheld_labels_leave_something_to_learn(base, stage):
    """From what teachers say of the images, or from the labels of the student set."""
    base["data_preparation"]["transfer_labels"] = False
    base[stage]["distillation"] |= {"alpha": 0, "student_set": True}
    check_parameters(base)
    base[stage]["distillation"]["student_set"] = False
    with pytest.raises(ParametersError, match=rf"{stage}\.distillation\.alpha is 0 .*: nothing is left to learn from"):
        check_parameters(base)
    base["data_preparation"]["transfer_labels"] = True
    check_parameters(base)


@pytest.mark.parametrize("stage", ["target_distillation", "reverse_distillation"])
def test_a_loss_cannot_read_withheld_labels(base, stage):
    base[stage]["distillation"]["loss"] = "dkd"
    check_parameters(base)
    base["data_preparation"]["transfer_labels"] = False
    message = rf"{stage}\.distillation\.loss 'dkd' reads the labels that data_preparation\.transfer_labels withholds"
    with pytest.raises(ParametersError, match=message):
        check_parameters(base)


def test_no_arm_learns_withheld_labels(base):
    """Asked for by name the ceiling is refused; among all arms it is left out."""
    base["evaluation"]["controls"] = True
    every = check_parameters(base).reference_arms
    base["data_preparation"]["transfer_labels"] = False
    assert set(every) - set(check_parameters(base).reference_arms) == {"all_labels"}
    base["evaluation"]["controls"] = ["labels", "all_labels"]
    with pytest.raises(ParametersError, match=r"all_labels reads what data_preparation\.transfer_labels withholds"):
        check_parameters(base)


def test_teachers_kept_apart_and_heads_are_as_many(base):
    base["target"]["architecture"]["heads"] = 3
    assert check_parameters(base).target.architecture.heads == 3  # of one fused teacher
    base["target_distillation"]["distillation"]["fusion"] = "separate"
    with pytest.raises(ParametersError, match="heads is 3, separate teachers are 4"):
        check_parameters(base)
    base["target_distillation"]["distillation"]["top_k"] = 3
    check_parameters(base)


def test_a_window_is_for_one_device(base):
    base["target_distillation"]["recipe"]["window"] = 50_000
    check_parameters(base)
    base["target"]["devices"] = 2
    with pytest.raises(ParametersError, match=r"window is for one device: leave it out, or target\.devices"):
        check_parameters(base)


def test_all_faults_are_listed_at_once(base):
    base["student_training"]["recipe"]["epoch"] = 3
    base["rounds"] = 0
    with pytest.raises(ParametersError) as refusal:
        check_parameters(base)
    assert "'epochs'" in refusal.value.message
    assert "rounds" in refusal.value.message


def test_a_student_without_a_block_is_out(base):
    base["students"]["resnet50"] = None
    assert list(check_parameters(base).students) == ["simple_cnn", "resnet8", "squeezenet"]


def test_a_students_change_is_checked_with_its_stage(base):
    base["student_training"]["recipe"]["augmentation"] = {"mixup": 0.2}
    base["students"]["resnet8"]["recipe"] = {"augmentation": {"cutmix": 0.2}}
    with pytest.raises(ParametersError, match="mixup and cutmix cannot be combined"):
        check_parameters(base)


def test_a_fifth_student_is_one_block(base):
    base["students"]["wide_resnet8"] = {"architecture": {"kind": "resnet8", "width": 2}, "recipe": {"epochs": 3}}
    checked = check_parameters(base)
    assert checked.students["wide_resnet8"].name == "wide_resnet8"
    assert len(checked.students) == 5


def test_devices_do_not_change_a_runs_identity() -> None:
    """Results of one GPU can be gone on from with four."""
    from knowledge_transfer.hooks.resume import _digest

    parameters = {"seed": 0, "devices": "auto", "per_device": 1, "target": {"name": "vgg19", "devices": 1}}
    elsewhere = {**parameters, "devices": "0 1", "per_device": 2, "target": {"name": "vgg19", "devices": 2}}
    assert _digest(elsewhere) == _digest(parameters)
    assert _digest({**parameters, "seed": 1}) != _digest(parameters)


@pytest.mark.parametrize("part", ["heterogeneous", "alpha_study", "student_ensemble"])
def test_a_part_that_is_no_block_stops_that_part_alone(part):
    """In `--params`, too: `alpha_study=1`."""
    loader = ExperimentConfigLoader("conf", env=None, runtime_params={part: 1}, **settings.CONFIG_LOADER_ARGS)
    given = loader["parameters"]
    _require_weights_of_globals(given, None, loader.runtime_params)
    check_parameters(given)
    parts = Parts(given)
    assert isinstance(parts[part], ParametersError)
    assert f"{part}: a block of settings by name (got 1)" in parts[part].message
    assert not any(isinstance(each, Exception) for name, each in parts.items() if name != part)
