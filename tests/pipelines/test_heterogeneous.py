"""The second experiment through Kedro: three drawn or scanned domains, a few images each, tiny networks."""

import json
import re

import pandas as pd
import pytest
import torch
from kedro.runner import SequentialRunner
from PIL import Image

from knowledge_transfer.datasets import SoftLabelsDataset
from knowledge_transfer.errors import RunError
from knowledge_transfer.experiment import current
from tests.project import EVERY_ARM, TINY, Project, merged

DOMAINS = {"simple_cnn": "digits", "resnet8": "glyphs", "squeezenet": "road_signs"}
CLASSES = {"digits": 10, "glyphs": 12, "road_signs": 15}
FEW = {"heterogeneous": {"data_preparation": {"limit": 150, "test_limit": 45}}}
CUT = ["data_preparation.measure_normalisation"]  # where data preparation ends


@pytest.fixture(scope="session")
def finished_mix(run_once):
    """A project in which the heterogeneous experiment has been run once, with every reference arm."""
    params = merged(FEW, {"heterogeneous": EVERY_ARM})
    return run_once("finished_mix", lambda project: project.run(params, pipeline="heterogeneous", tracked=True))


def summary(project):
    return project.report("heterogeneous_summary")


def checkpoint(project, name):
    return project.checkpoint(f"heterogeneous_{name}")


def images(project, name):
    return project.images(f"heterogeneous_{name}")


def domains_of(project):
    return project.report("heterogeneous_data_report")["domains"]


def cut(path, **changes):
    """Run data preparation of a mix with these changes to its parameters; return the project."""
    project = Project(path)
    project.run(merged(FEW, changes), pipeline="heterogeneous", to_nodes=CUT)
    return project


def test_one_image_set_remembers_every_domain(finished_mix):
    for name in ("student", "validation", "transfer", "test"):
        mixed = images(finished_mix, name)
        assert [block.domain for block in mixed.blocks] == list(CLASSES)
        assert mixed.images.shape[1:] == (3, 32, 32), "grey and colour, 28 and 32 pixels"
        assert len(mixed.class_names) == sum(CLASSES.values())
        assert {mixed.class_names[label].split("/")[0] for label in mixed.labels.unique().tolist()} == set(CLASSES)
    counts = domains_of(finished_mix)
    assert all(sum(counts[domain]["images"].values()) > 150 for domain in CLASSES)


def test_sets_share_no_picture_and_no_track(finished_mix):
    sets = [images(finished_mix, name) for name in ("student", "validation", "transfer", "test")]
    pictures = [set(each.content_hashes()) for each in sets]
    assert len(set.union(*pictures)) == sum(map(len, pictures))
    tracks = [set(each.of("road_signs").groups.tolist()) for each in sets[:3]]
    assert len(set.union(*tracks)) == sum(map(len, tracks))


def test_every_student_learns_its_domain_alone(finished_mix):
    mixed = images(finished_mix, "student")
    for name, domain in DOMAINS.items():
        facts = checkpoint(finished_mix, f"{name}_round0").facts
        assert (facts.name, facts.domain) == (name, domain)
        assert facts.class_names == mixed.block(domain).class_names
        assert facts.images_sha256 == mixed.of(domain).sha256
        assert (facts.mean, facts.deviation) == mixed.of(domain).statistics()


def test_students_label_no_other_domain(finished_mix):
    file = finished_mix.file("07_model_output/heterogeneous_ensemble_round1_soft_labels.safetensors")
    labels, transfer = SoftLabelsDataset(filepath=str(file)).load(), images(finished_mix, "transfer")
    for member, (name, domain) in enumerate(DOMAINS.items()):
        assert labels.members[member] == f"{name}@0"
        own, block = transfer.domains == list(CLASSES).index(domain), transfer.block(domain)
        labelled = labels.logits[member].isfinite()
        assert labelled[own][..., block.classes].all()
        assert int(labelled.sum()) == labelled[own][..., block.classes].numel()


def test_the_target_learns_from_all_students(finished_mix):
    facts = checkpoint(finished_mix, "vgg19_taught_round1").facts
    assert len(facts.class_names) == sum(CLASSES.values())
    students = {f"{name}@0": checkpoint(finished_mix, f"{name}_round0").sha256 for name in DOMAINS}
    assert facts.parents == students
    alone = checkpoint(finished_mix, "vgg19_no_labels_round1").facts
    assert alone.parents == students
    assert (alone.distillation["alpha"], alone.distillation["gamma"]) == (1, 1)


def test_the_summary_has_domain_and_joint_accuracy(finished_mix):
    content = summary(finished_mix)
    assert (content["pipeline"], content["environment"]) == ("heterogeneous", "base")
    of = {}
    for row in content["rows"]:
        assert row.keys() == {
            *("model", "stage", "round", "domain", "accuracy", "joint_accuracy", "nll", "ece"),
            *("parameters", "macs", "images_per_second", "warning"),
        }
        of.setdefault((row["model"], row["round"]), {})[row["domain"]] = row
    of_students = set()
    for name, domain in DOMAINS.items():
        for key in ((name, 0), (name, 1), (f"{name}_taught", 1), (f"{name}_continued", 1)):
            assert list(of[key]) == [domain]
            assert of[key][domain]["joint_accuracy"] is None, "a student knows one domain"
            of_students.add(key)
    arms = [f"vgg19_{arm}" for arm in ("labels", "no_labels", "label_smoothing", "all_labels")]
    whole = [("vgg19", 1), ("vgg19_taught", 1), *((arm, 1) for arm in arms)]
    whole += [(f"ensemble_{how}", round_) for how in ("oracle_routed", "most_confident") for round_ in (0, 1)]
    for key in whole:
        assert list(of[key]) == ["all", *CLASSES]
        assert all(row["joint_accuracy"] <= row["accuracy"] for row in of[key].values())
    assert of.keys() == of_students | set(whole)
    for name, domain in DOMAINS.items():
        for how in ("oracle_routed", "most_confident"):
            assert of[f"ensemble_{how}", 0][domain]["accuracy"] == of[name, 0][domain]["accuracy"]
    assert all(row["joint_accuracy"] == row["accuracy"] for row in of["ensemble_oracle_routed", 0].values())


def test_counts_add_up_to_the_test_set(finished_mix):
    test = images(finished_mix, "test")
    confusion = pd.read_csv(finished_mix.file("08_reporting/heterogeneous_domain_confusion.csv"))
    assert set(confusion["model"]) >= {
        "vgg19@1", "vgg19_taught@1", "vgg19_labels@1", "vgg19_no_labels@1", "ensemble_most_confident@0"
    }  # fmt: skip
    assert (confusion.groupby("model")["images"].sum() == len(test)).all()
    classes = pd.read_csv(finished_mix.file("08_reporting/heterogeneous_class_metrics.csv"))
    assert len(classes) == sum(CLASSES.values())
    assert classes["images"].sum() == len(test)
    rows = {(row["model"], row["round"], row["domain"]): row for row in summary(finished_mix)["rows"]}
    for column, model, measure in (
        ("accuracy", "vgg19", "accuracy"), ("joint_accuracy", "vgg19", "joint_accuracy"),
    ):  # fmt: skip
        mean = (classes[column] * classes["images"]).sum() / len(test)
        assert mean == pytest.approx(rows[model, 1, "all"][measure])
    own = classes[classes["domain"] == "glyphs"]
    for column, round_ in (("before", 0), ("after", 1)):
        mean = (own[column] * own["images"]).sum() / own["images"].sum()
        assert mean == pytest.approx(rows["resnet8", round_, "glyphs"]["accuracy"])


def test_the_report_shows_the_domains(finished_mix):
    page = finished_mix.file("08_reporting/heterogeneous_report.html").read_text()
    plain = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    for part in (
        "Which domain is taken for which",
        "domain unknown",
        "road_signs/stop",
        "Beside the student of each domain",
        "Where the time went",
        "What was kept",
    ):
        assert part in page
    assert "None" not in plain
    assert "nan" not in plain
    for name in ("domain_confusion", "before_and_after", "confusion", "timeline"):
        with Image.open(finished_mix.file(f"08_reporting/figures/heterogeneous_{name}.png")) as figure:
            assert min(figure.size) > 300


def test_mlflow_compares_models_by_domain(finished_mix):
    client, (parent,), models = finished_mix.mlflow_runs("heterogeneous")
    children = {run.info.run_name: run for run in models}
    assert {name: children[name].data.params["domain"] for name in DOMAINS} == DOMAINS
    assert children["vgg19"].data.params["domain"] == "all"
    assert parent.data.params["students.resnet8.domain"] == "glyphs", "its own parameters, not the main experiment's"
    assert {"accuracy.target.vgg19", "joint_accuracy.target.vgg19", "accuracy.target.vgg19.glyphs"} <= {
        *parent.data.metrics
    }
    assert {model.name for model in client.search_registered_models()} == {
        "heterogeneous", *(f"heterogeneous.{name}" for name in (*DOMAINS, "vgg19"))
    }  # fmt: skip
    champion = client.get_model_version_by_alias("heterogeneous", "champion")
    assert champion.run_id == children["vgg19"].info.run_id, "students know one domain alone"


def test_a_mix_has_its_own_files(finished_mix):
    made = [path for path in (finished_mix.path / "data").rglob("*") if path.is_file()]
    assert made
    assert all(path.name.startswith("heterogeneous_") for path in made)


def test_one_domain_is_the_main_experiment(finished_project, tmp_path):
    project = Project(tmp_path / "one")
    same = {"students": {name: {"domain": "digits"} for name in DOMAINS}, **EVERY_ARM}
    project.run({"heterogeneous": same}, pipeline="heterogeneous")
    names = [f"{name}_round{round_}" for name in DOMAINS for round_ in (0, 1)]
    names += [f"{name}_taught_round1" for name in ("vgg19", *DOMAINS)]
    for name in (*names, "vgg19_round1", "vgg19_labels_round1", "resnet8_continued_round1", "resnet8_mutual_round1"):
        assert checkpoint(project, name).sha256 == finished_project.checkpoint(name).sha256, name
    main = finished_project.report("summary")["rows"]
    accuracies = {(row["model"], row["round"]): (row["accuracy"], row["nll"]) for row in main}
    rows = summary(project)["rows"]
    assert {(row["model"], row["round"]): (row["accuracy"], row["nll"]) for row in rows} == accuracies
    assert {row["domain"] for row in rows} == {"digits"}


def test_the_mix_is_configuration(tmp_path):
    shares = {"data_preparation": {"transfer_mix": {"glyphs": 13, "road_signs": 21}, "test_mix": "equal"}}
    project = cut(tmp_path / "given", heterogeneous=shares)
    domains = domains_of(project)
    transfer = {domain: part["images"]["transfer"] for domain, part in domains.items()}
    assert (transfer["glyphs"], transfer["road_signs"]) == (13, 21)
    assert transfer["digits"] > 30, "what is not named is whole"
    assert {part["images"]["test"] for part in domains.values()} == {45}
    assert all(part["images"]["students"] > 70 for part in domains.values()), "students learn all they have"


def test_one_source_may_be_two_domains(tmp_path):
    """Equal class names and equal pictures: the classes stay apart, no picture is on two sides."""
    students = {"simple_cnn": {"domain": "digits"}, "resnet8": {"domain": "more_digits"}}
    project = cut(
        tmp_path / "two",
        domains={"more_digits": {"source": "digits"}},
        heterogeneous={"students": {**students, "squeezenet": None}},
    )
    sets = [images(project, name) for name in ("student", "validation", "transfer", "test")]
    assert sets[0].class_names[:2] + sets[0].class_names[10:12] == (
        "digits/0", "digits/1", "more_digits/0", "more_digits/1",
    )  # fmt: skip
    pictures = [set(each.content_hashes()) for each in sets]
    assert len(set.union(*pictures)) == sum(map(len, pictures))


def test_own_folders_of_any_size_join_a_mix(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for name in ("cat", "dog", "7"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(12):
            pixels = torch.randint(0, 255, (20 + number, 30, 3), generator=generator, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(tmp_path / "pets" / name / f"{number}.png")
    students = {"simple_cnn": {"domain": "digits"}, "resnet8": {"domain": "pets"}, "squeezenet": None}
    project = cut(
        tmp_path / "own",
        domains={"pets": {"source": "folder", "path": str(tmp_path / "pets")}},
        heterogeneous={"students": students},
    )
    assert images(project, "student").class_names[-3:] == ("pets/7", "pets/cat", "pets/dog")
    assert images(project, "test").images.shape[1:] == (3, 32, 32)


def test_several_students_of_one_domain_and_two_rounds(tmp_path):
    """Any number of domains, any number of students of each; weighted and the best one of each domain."""
    students = {
        "simple_cnn": {"domain": "digits"}, "resnet8": {"domain": "digits"}, "squeezenet": {"domain": "glyphs"},
    }  # fmt: skip
    changes = {
        "rounds": 2,
        "students": students,
        "student_training": {"recipe": {"epochs": 10, "batch_size": 16}},
        "target_distillation": {"distillation": {"fusion": "weighted", "top_k": 1}},
        "evaluation": {"controls": ["no_labels"]},
    }
    project = Project(tmp_path)
    project.run(merged(FEW, {"heterogeneous": changes}), pipeline="heterogeneous")
    rows = summary(project)["rows"]
    assert {(row["model"], row["domain"]) for row in rows if row["stage"] == "before"} == {
        ("simple_cnn", "digits"), ("resnet8", "digits"), ("squeezenet", "glyphs")
    }  # fmt: skip
    assert {(row["round"], row["domain"]) for row in rows if row["stage"] == "target"} == {
        (round_, domain) for round_ in (1, 2) for domain in ("all", "digits", "glyphs")
    }  # fmt: skip
    assert not checkpoint(project, "simple_cnn_round0").facts.warning, "who has learned nothing teaches nobody"
    alone = checkpoint(project, "vgg19_no_labels_round2").facts
    assert set(alone.parents) == {"simple_cnn@0", "resnet8@0", "squeezenet@0"}, "later teachers learned the labels"
    validation_scores = project.file("07_model_output/heterogeneous_ensemble_round2_validation_scores.json")
    assert {each["domain"] for each in json.loads(validation_scores.read_text()).values()} == {"digits", "glyphs"}
    validation_scores = project.file("07_model_output/heterogeneous_reverse_round2_validation_scores.json")
    scores = json.loads(validation_scores.read_text())
    assert {domain: list(of) for domain, of in scores.items()} == {"digits": ["vgg19@2"], "glyphs": ["vgg19@2"]}


def check_mix(session):
    """Check the parameters of a session, those of the mix too."""
    session.load_context()
    current.plan().require_sound("heterogeneous")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"students": {"resnet8": {"domain": "all"}}}, "heterogeneous: resnet8 has no domain"),
        ({"students": {"resnet8": {"domain": "my glyphs"}}}, "domain 'my glyphs' names datasets"),
        ({"students": {"resnet8": {"domian": "glyphs"}}}, "heterogeneous.students.resnet8: unknown key 'domian'"),
        ({"data_preparation": {"test_mix": {"glyph": 3}}}, "no student learns 'glyph'; did you mean 'glyphs'"),
        ({"target_distillation": {"distillation": {"top_k": 2}}}, "top_k is 2, no domain has more students than 1"),
        ({"target_distillation": {"distillation": {"gamma": 0}}}, "no_labels at gamma 0 never learns which domain"),
        ({"domains": {"pets": {"source": "folder"}}}, "domains.pets: source 'folder' needs a path"),
        ({"data_preparation": {"transfer_mix": "even"}}, "heterogeneous.data_preparation.transfer_mix"),
        (
            {"target_distillation": {"distillation": {"gamma": -1}}},
            "heterogeneous.target_distillation.distillation.gamma",
        ),
    ],
)
def test_bad_parameters_are_refused_by_name(tmp_path, params, message):
    session = Project(tmp_path).session(merged(TINY, {"heterogeneous": params}))
    with pytest.raises(RunError, match=message):
        check_mix(session)


@pytest.mark.parametrize(
    ("params", "message", "start"),
    [
        ({"students": {"resnet8": {"domain": "gliphs"}}}, "unknown source 'gliphs'; did you mean 'glyphs'", None),
        ({"devices": "cudaa"}, "'cudaa' is no device", None),
        ({"data_preparation": {"limti": 9}}, "unknown key 'limti'", ["target_distillation.label_by_ensemble_round1"]),
    ],
)
def test_bad_input_stops_before_the_first_fit(tmp_path, params, message, start):
    project = Project(tmp_path)
    with pytest.raises(RunError, match=message):
        project.run({"heterogeneous": params}, pipeline="heterogeneous", from_nodes=start)
    assert not list(project.path.rglob("*round*.safetensors"))


@pytest.mark.parametrize("names", [["bidirectional"], None])
def test_a_faulty_mix_leaves_other_pipelines_alone(tmp_path, names):
    """Plain `kedro run` builds every pipeline there is."""
    project = Project(tmp_path / "main")
    broken = {"heterogeneous": {"students": {"resnet8": {"domain": "all"}}}}
    with project.session(merged(TINY, broken)) as session:
        session.run(pipeline_names=names, runner=SequentialRunner(), to_nodes=CUT)
    assert project.file("05_model_input/test_images.safetensors").is_file()


def test_params_win_over_the_files_of_mixes(tmp_path):
    project = Project(tmp_path / "params")
    given = {"target_distillation": {"recipe": {"epochs": 7}}, "evaluation": {"controls": False}, "seed": 5}
    with project.session(merged(given, {"heterogeneous": {"seed": 6}})) as session:
        parameters = session.load_context().config_loader["parameters"]["heterogeneous"]
    assert parameters["target_distillation"]["recipe"]["epochs"] == 7
    assert parameters["evaluation"]["controls"] is False
    assert parameters["seed"] == 6, "what names the mix has the last word"


def test_params_change_domains_of_the_globals(tmp_path):
    project = Project(tmp_path / "domains")
    known = "domains: {ours: {source: digits}, other: {source: shapes}}"
    (project.path / "conf" / "local" / "globals.yml").write_text(known)
    students = {
        "simple_cnn": {"domain": "ours"},
        "resnet8": {"domain": "other"},
        "parametric": {"domain": "third", "architecture": {"kind": "resnet8", "width": 0.125}},
        "squeezenet": None,
    }
    params = {"domains": {"third": {"source": "glyphs"}, "other": {"source": "road_signs"}}}
    wanted = merged(FEW, {**params, "heterogeneous": {"students": students}})
    project.run(wanted, pipeline="heterogeneous", to_nodes=CUT)
    names = {domain: len(part["class_names"]) for domain, part in domains_of(project).items()}
    assert names == {"ours": 10, "other": 15, "third": 12}


def test_the_main_experiment_may_be_a_mix_itself(tmp_path):
    """Heterogeneity is a property of the data; any name will do for a student."""
    project = Project(tmp_path / "main")
    few = {"data_preparation": {"limit": 60, "test_limit": 30}, "evaluation": {"controls": False}}
    students = {"simple_cnn": None, "squeezenet": None, "resnet8": {"domain": "digits"}}
    published = {"parametric": {"architecture": {"kind": "simple_cnn", "width": 0.125}, "domain": "glyphs"}}
    project.run({**few, "students": {**students, **published}})
    classes = pd.read_csv(project.file("08_reporting/class_metrics.csv"))
    assert set(classes["domain"]) == {"digits", "glyphs"}
    assert project.file("08_reporting/domain_confusion.csv").is_file()


def test_students_without_a_domain_are_left_out(tmp_path):
    fifth = {"architecture": {"kind": "resnet8", "width": 0.25}}
    project = cut(tmp_path / "roster", students={"fifth": fifth, "resnet8": None})
    assert list(domains_of(project)) == ["digits", "road_signs"]


def test_a_mix_resumes_and_refuses_another(finished_mix, tmp_path):
    copy = finished_mix.copy(tmp_path / "copy")
    wanted = merged(FEW, {"heterogeneous": EVERY_ARM})
    lost = copy.file("06_models/heterogeneous_squeezenet_taught_round1.safetensors")
    before = finished_mix.checkpoint(lost.stem).sha256
    lost.unlink()
    copy.run(wanted, pipeline="heterogeneous", only_missing_outputs=True)
    assert copy.checkpoint(lost.stem).sha256 == before
    lost.unlink()
    too_many = {"heterogeneous": {"data_preparation": {"transfer_mix": {"glyphs": 3000}}}}
    with pytest.raises(RunError, match="3000 images of 'glyphs'"):
        copy.run(merged(wanted, too_many), pipeline="heterogeneous")
    copy.run(wanted, pipeline="heterogeneous", only_missing_outputs=True)
    assert copy.checkpoint(lost.stem).sha256 == before, "a run that made nothing leaves everything as it was"
    other = merged(wanted, {"heterogeneous": {"students": {"resnet8": {"domain": "shapes"}}}})
    with pytest.raises(RunError, match=r"made with mix .*run --pipelines=heterogeneous --to-nodes=data_preparation"):
        copy.run(other, pipeline="heterogeneous", from_nodes=["student_training.train_resnet8"])
