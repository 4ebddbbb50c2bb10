import dataclasses
import json

import pytest
import torch

from knowledge_transfer.learning.data.augmentation import Augmentation, render
from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.soft_labels import LabellingFacts, SoftLabels
from knowledge_transfer.learning.ensembles.fusion import fuse
from knowledge_transfer.learning.ensembles.fusion_weights import FITS
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.train import (
    FitData,
    LearnOptions,
    Normalisation,
    ValidationScore,
    best_members,
    distillation_objective,
    learn,
    rank,
    score_members,
)
from knowledge_transfer.learning.training.recipe import Recipe
from tests.conftest import stripes, two_domains

CPU = torch.device("cpu")
CROP = Augmentation(crop=3, flip=True)


@pytest.fixture(scope="module")
def teachers():
    images = stripes(30)
    normalisation = Normalisation(mean=(0.5,), deviation=(0.3,))
    return [
        learn(
            name,
            Architecture(kind=kind, width=0.25),
            FitData(images, images, normalisation),
            Recipe(epochs=1, batch_size=10, precision="fp32"),
            LearnOptions(seed=1, device=CPU),
        )
        for name, kind in (("a", "simple_cnn"), ("b", "squeezenet"))
    ]


@pytest.fixture(scope="module")
def labels(teachers):
    return label(teachers, stripes(30), views=3, view_seed=4, augmentation=CROP, device=CPU)


def test_labels_are_the_teachers_answers_to_the_learners_views(teachers, labels):
    images = stripes(30)
    assert labels.logits.shape == (2, 30, 3, 3)
    assert labels.members == ("a@0", "b@0")
    for member, teacher in enumerate(teachers):
        seen = render(images.images, torch.tensor([7]), view=2, seed=4, augmentation=CROP).pixels
        with torch.no_grad():
            answer = teacher.build()(seen)
        torch.testing.assert_close(labels.logits[member, 7, 2].float(), answer[0], atol=0.05, rtol=0.05)


def test_labelling_moves_no_statistics(teachers):
    """A teacher in training mode would answer by the batch, and its running statistics would drift."""
    before = teachers[1].sha256
    one = label(teachers, stripes(30), views=1, view_seed=0, augmentation=Augmentation(), device=CPU)
    part = stripes(30).subset(torch.arange(3))
    other = label(teachers, part, views=1, view_seed=0, augmentation=Augmentation(), device=CPU)
    torch.testing.assert_close(one.logits[:, :3].float(), other.logits.float(), atol=0.05, rtol=0.02)
    assert dataclasses.replace(teachers[1]).sha256 == before


def require(labels, **changes):
    wanted = {
        "images": stripes(30),
        "teachers": dict(labels.facts.teachers),
        "views": 3,
        "view_seed": 4,
        "augmentation": CROP,
    } | changes
    labels.require(wanted.pop("images"), wanted.pop("teachers"), **wanted)


def test_the_right_learner_is_let_in(labels):
    require(labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teachers": {"a@0": "0" * 64, "b@0": "same"}}, "not from the present a@0"),
        ({"teachers": {}}, "not from the present a@0, b@0"),
        ({"images": stripes(30, seed=1)}, "belong to other images"),
        ({"view_seed": 5}, "view seed 4, the learner wants 5"),
        ({"views": 8}, "views 3, the learner wants 8"),
        ({"augmentation": Augmentation()}, "augmentation"),
    ],
)
def test_stale_labels_are_refused(labels, changes, message):
    if changes.get("teachers"):
        changes = {"teachers": {**changes["teachers"], "b@0": labels.facts.teachers["b@0"]}}
    with pytest.raises(ValueError, match=message):
        require(labels, **changes)


def test_teachers_of_other_classes_are_refused(teachers):
    with pytest.raises(ValueError, match="a@0 answers with the classes"):
        label(teachers, stripes(30, classes=2), views=1, view_seed=0, augmentation=Augmentation(), device=CPU)


def test_teachers_of_other_image_sizes_are_refused(teachers):
    with pytest.raises(ValueError, match=r"a@0 takes images of \[1, 32, 32\], these are \[3, 32, 32\]"):
        label(teachers, stripes(30, channels=3), views=1, view_seed=0, augmentation=Augmentation(), device=CPU)


def test_reading_fuses_the_chosen_members(labels):
    both = labels.teacher_logits("mean_probabilities", stripes(30), temperature=2.0)
    expected = (labels.logits.float() / 2).softmax(-1).mean(0)
    torch.testing.assert_close((both / 2).softmax(-1), expected)
    one = labels.teacher_logits("mean_probabilities", stripes(30), temperature=2.0, members=("b@0",))
    torch.testing.assert_close((one / 2).softmax(-1), (labels.logits[1].float() / 2).softmax(-1))


STANDINGS = {"a@0": ValidationScore(weight=0.25, accuracy=0.9), "b@0": ValidationScore(weight=0.75, accuracy=0.8)}


def test_a_lesson_weighs_and_chooses_by_standing(labels):
    weighted = distillation_objective(
        labels, stripes(30), DistillationConfig(fusion="weighted", temperature=1), STANDINGS
    )
    probabilities = labels.logits.float().softmax(-1)
    expected = 0.25 * probabilities[0] + 0.75 * probabilities[1]
    torch.testing.assert_close(weighted.teacher_logits.softmax(-1), expected)
    best = distillation_objective(labels, stripes(30), DistillationConfig(top_k=1, temperature=1), STANDINGS)
    torch.testing.assert_close(best.teacher_logits.softmax(-1), probabilities[0])
    assert best_members(STANDINGS, None) == ("a@0", "b@0")
    with pytest.raises(ValueError, match="need the members' validation scores"):
        distillation_objective(labels, stripes(30), DistillationConfig(top_k=1), None)


def test_a_lesson_reads_what_was_fitted_on_validation(labels):
    validation = stripes(40)
    logits = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0))
    validation_scores = score_members(["b@0", "a@0"], logits, validation.labels)
    # As they travel from node to node.
    validation_scores = {
        key: ValidationScore(**json.loads(each.model_dump_json())) for key, each in validation_scores.items()
    }
    said = labels.logits.float().flatten(1, 2)
    for rule, fit in FITS.items():
        objective = distillation_objective(
            labels, stripes(30), DistillationConfig(fusion=rule, temperature=2), validation_scores
        )
        fused = fuse(said, rule, temperature=2, weights=fit(logits, validation.labels).flip(0))
        torch.testing.assert_close((objective.teacher_logits / 2).softmax(-1).flatten(0, 1), fused)
        with pytest.raises(ValueError, match=f"{rule} fusion need the members' validation scores"):
            distillation_objective(labels, stripes(30), DistillationConfig(fusion=rule), None)


def test_some_of_the_teachers_alone(labels):
    one = labels.only(["b@0"])
    assert one.members == ("b@0",)
    assert torch.equal(one.logits[0], labels.logits[1])
    assert labels.only(["b@0", "a@0"]).members == ("b@0", "a@0")
    with pytest.raises(ValueError, match="c@0 gave none of these soft labels: label again"):
        labels.only(["a@0", "c@0"])


def test_members_kept_apart_are_those_chosen(labels):
    objective = distillation_objective(labels, stripes(30), DistillationConfig(fusion="separate"), None)
    assert torch.equal(objective.teacher_logits, labels.logits.float().movedim(0, 2))
    best = distillation_objective(labels, stripes(30), DistillationConfig(fusion="separate", top_k=1), STANDINGS)
    assert torch.equal(best.teacher_logits, labels.logits[:1].float().movedim(0, 2))


def test_mse_through_a_lesson_is_zero_for_a_learner_that_is_its_teacher(labels):
    objective = distillation_objective(
        labels, stripes(30), DistillationConfig(loss="mse", temperature=4, top_k=1), STANDINGS
    )
    learner = labels.logits[0, :, 1].float() + 5  # a shift changes no probability
    assert float(objective.soft_loss(learner, objective.teacher_logits[:, 1], torch.zeros(30).long())) < 1e-6


def test_logits_and_facts_must_agree(labels):
    facts = LabellingFacts(**{**labels.facts.model_dump(), "views": 2})
    with pytest.raises(ValueError, match=r"soft labels of shape \[2, 30, 3, 3\]"):
        SoftLabels(labels.logits, facts)


def test_a_teacher_that_gives_no_numbers_is_refused(teachers):
    state = {name: weights * torch.nan if weights.ndim > 1 else weights for name, weights in teachers[0].state.items()}
    broken = dataclasses.replace(teachers[0], state=state)
    with pytest.raises(ValueError, match="a@0 gives answers that are no finite numbers"):
        label([broken], stripes(30), views=1, view_seed=0, augmentation=Augmentation(), device=CPU)


MIX = mix(two_domains()).subset(torch.randperm(50, generator=torch.Generator().manual_seed(0)))
ROWS = {block.domain: MIX.domains == position for position, block in enumerate(MIX.blocks)}
MIXUP = Augmentation(mixup=1.0)  # shows anyone who takes another partner or share


@pytest.fixture(scope="module")
def roster():
    """Two students of the digits, one of the signs between them, and a target of both domains."""
    return {
        name: learn(
            name,
            Architecture(kind="resnet8", width=0.5),
            FitData(MIX.of(domain), MIX.of(domain), Normalisation(mean=(0.5,), deviation=(0.3,))),
            Recipe(epochs=2, batch_size=10, precision="fp32"),
            LearnOptions(seed=seed, device=CPU),
        )
        for seed, (name, domain) in enumerate({"a": "digits", "c": "signs", "b": "digits", "t": "all"}.items())
    }


def say(teachers, images=MIX, **how):
    return label(list(teachers), images, views=2, view_seed=4, augmentation=MIXUP, device=CPU, **how)


@pytest.fixture(scope="module")
def said(roster):
    return say(roster.values())


@pytest.fixture(scope="module")
def students_said(roster):
    return say([roster["a"], roster["c"], roster["b"]])


def test_a_checkpoint_answers_for_the_domain_that_it_learned(roster):
    assert {name: one.facts.domain for name, one in roster.items()} == {
        "a": "digits",
        "c": "signs",
        "b": "digits",
        "t": "all",
    }
    assert roster["c"].facts.class_names == ("class 0", "class 1")


@pytest.mark.parametrize("every_domain", [False, True])
def test_a_member_says_nothing_outside_its_block_and_of_others_images_only_if_asked(roster, every_domain):
    asked = say(roster.values(), every_domain=every_domain)
    for position, teacher in enumerate(roster.values()):
        domain = teacher.facts.domain
        expected = torch.zeros(50, 2, 5, dtype=torch.bool)
        rows = torch.ones(50, dtype=torch.bool) if every_domain or domain == "all" else ROWS[domain]
        expected[rows, :, teacher.block_in(MIX).classes] = True
        assert asked.logits[position].isfinite().equal(expected)
        assert (asked.logits[position][~expected] == -torch.inf).all()
    assert asked.teachers_of("digits") == ("a@0", "b@0", "t@0")
    assert asked.teachers_of("signs") == ("c@0", "t@0")


def test_a_student_asked_about_every_image_says_the_same_of_its_own(roster, said):
    """And of others what the network says of them, for who routes an image to the surest student."""
    asked = say(roster.values(), every_domain=True)
    heard = said.logits.isfinite()
    torch.testing.assert_close(asked.logits[heard], said.logits[heard], atol=0.05, rtol=0.05)
    fused, expected = (each.teacher_logits("mean_probabilities", MIX, temperature=4.0) for each in (asked, said))
    torch.testing.assert_close((fused / 4).softmax(-1), (expected / 4).softmax(-1), atol=0.02, rtol=0)
    others = MIX.subset(ROWS["digits"])
    plain = label([roster["c"]], MIX, views=1, view_seed=0, augmentation=Augmentation(), device=CPU, every_domain=True)
    answer = predict(roster["c"].build(), others, device=CPU)
    torch.testing.assert_close(plain.logits[0, ROWS["digits"], 0, 3:].float(), answer, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(("domain", "names"), [("digits", "ab"), ("signs", "c")])
def test_a_domain_of_a_labelled_mix_is_that_domain_labelled_alone(roster, domain, names):
    students = [roster[name] for name in names]
    part, alone = say(students).of(MIX, domain), say(students, MIX.of(domain))
    assert part.facts == alone.facts
    assert part.logits.equal(alone.logits)
    assert alone.of(MIX.of(domain), domain) is alone
    with pytest.raises(ValueError, match="no domain 'letters'"):
        say(students).of(MIX, "letters")
    with pytest.raises(ValueError, match="these soft labels belong to other images"):
        part.of(MIX, domain)


@pytest.mark.parametrize(("domain", "classes"), [("digits", slice(0, 3)), ("signs", slice(3, 5))])
def test_a_target_of_all_domains_teaches_one_by_what_it_says_within_its_block(roster, said, domain, classes):
    """The reverse: the student learns from its own images, the teacher is the softmax of z[block]/T."""
    own = MIX.of(domain)
    part = say([roster["t"]]).of(MIX, domain)
    part.require(own, {"t@0": roster["t"].sha256}, views=2, view_seed=4, augmentation=MIXUP)
    taught = part.teacher_logits("mean_probabilities", own, temperature=2.0)
    for view in range(2):
        seen = render(own.images, torch.arange(len(own)), view=view, seed=4, augmentation=MIXUP).pixels
        with torch.no_grad():
            answer = roster["t"].build()(seen)[:, classes]
        torch.testing.assert_close((taught[:, view] / 2).softmax(1), (answer / 2).softmax(1), atol=0.02, rtol=0)
    assert said.of(MIX, "all") is said


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (
            "signs",
            r"a@0 answers with the classes \['class 0', .*, the block of domain 'signs' has \['class 0', 'class 1'",
        ),
        ("letters", "@0 answers for domain 'letters', the images are of digits, signs"),
        ("all", "a@0 answers with the classes .*, the block of domain 'all' has"),
    ],
)
def test_a_student_of_another_label_space_is_refused(roster, domain, message):
    stray = dataclasses.replace(roster["a"], facts=roster["a"].facts.model_copy(update={"domain": domain}))
    with pytest.raises(ValueError, match=message):
        say([roster["c"], stray])


def test_a_domain_s_teacher_is_fused_from_its_own_students(students_said):
    fused = (students_said.teacher_logits("mean_probabilities", MIX, temperature=2.0) / 2).softmax(-1)
    a, c, b = (students_said.logits.float() / 2).softmax(-1)
    torch.testing.assert_close(fused[ROWS["digits"]], (a + b)[ROWS["digits"]] / 2)
    torch.testing.assert_close(fused[ROWS["signs"]], c[ROWS["signs"]])
    assert (fused[ROWS["digits"]][..., 3:] == 0).all()
    assert (fused[ROWS["signs"]][..., :3] == 0).all()


@pytest.mark.parametrize("rule", ["mean_probabilities", "mean_logits", "confidence", "plurality", "weighted"])
def test_a_student_cannot_change_what_another_domain_is_taught(roster, students_said, rule):
    state = {key: weights.flip(0) if weights.ndim > 1 else weights for key, weights in roster["a"].state.items()}
    changed = say([dataclasses.replace(roster["a"], state=state), roster["c"], roster["b"]])
    weights = {"a@0": 0.4, "c@0": 1.0, "b@0": 0.6}
    before, after = (
        each.teacher_logits(rule, MIX, temperature=2.0, weights=weights) for each in (students_said, changed)
    )
    assert before[ROWS["signs"]].equal(after[ROWS["signs"]])
    assert not before[ROWS["digits"]].equal(after[ROWS["digits"]])


def test_standings_count_within_a_domain(students_said):
    """The best of the signs teaches them, though every student of the digits is better at his."""
    validation_scores = {
        "a@0": ValidationScore(domain="digits", weight=0.25, accuracy=0.8),
        "c@0": ValidationScore(domain="signs", weight=1, accuracy=0.1),
        "b@0": ValidationScore(domain="digits", weight=0.75, accuracy=0.9),
    }
    a, c, b = students_said.logits.float().softmax(-1)
    weighted = distillation_objective(
        students_said, MIX, DistillationConfig(fusion="weighted", temperature=1), validation_scores
    )
    heard = weighted.teacher_logits.softmax(-1)
    torch.testing.assert_close(heard[ROWS["digits"]], (0.25 * a + 0.75 * b)[ROWS["digits"]])
    torch.testing.assert_close(heard[ROWS["signs"]], c[ROWS["signs"]])
    assert best_members(validation_scores, 1) == ("c@0", "b@0")
    for fusion in ("mean_probabilities", "weighted"):
        best = distillation_objective(
            students_said, MIX, DistillationConfig(top_k=1, fusion=fusion, temperature=1), validation_scores
        )
        heard = best.teacher_logits.softmax(-1)
        torch.testing.assert_close(heard[ROWS["digits"]], b[ROWS["digits"]])
        torch.testing.assert_close(heard[ROWS["signs"]], c[ROWS["signs"]])


def test_members_are_kept_apart_where_every_domain_has_as_many(students_said):
    apart = students_said.member_logits(MIX, members=("b@0", "c@0"))
    assert torch.equal(apart[ROWS["digits"]][:, :, 0, :3], students_said.logits[2].float()[ROWS["digits"]][..., :3])
    assert torch.equal(apart[ROWS["signs"]][:, :, 0, 3:], students_said.logits[1].float()[ROWS["signs"]][..., 3:])
    assert (apart[ROWS["signs"]][..., :3] == -torch.inf).all()
    with pytest.raises(ValueError, match=r"as many: here are \{'digits': 2, 'signs': 1\}"):
        students_said.member_logits(MIX)


def test_stacking_and_boosting_keep_to_a_domain(roster, students_said):
    validation_scores = rank([roster["a"], roster["c"], roster["b"]], MIX, device=CPU)
    assert [len(validation_scores[key].layer) for key in ("a@0", "c@0", "b@0")] == [4, 3, 4]
    for rule in ("boosted", "stacked"):
        objective = distillation_objective(
            students_said, MIX, DistillationConfig(fusion=rule, temperature=1), validation_scores
        )
        for domain, keys, classes in (("digits", ("a@0", "b@0"), slice(0, 3)), ("signs", ("c@0",), slice(3, 5))):
            said = torch.stack([students_said.logits[students_said.members.index(key)].float() for key in keys])
            parts = torch.tensor([validation_scores[key].part_in(rule) for key in keys])
            fused = fuse(said[:, ROWS[domain], :, classes].flatten(1, 2), rule, weights=parts)
            heard = objective.teacher_logits[ROWS[domain]][..., classes].softmax(-1)
            torch.testing.assert_close(heard.flatten(0, 1), fused)


def test_a_lesson_takes_its_weights_from_the_teaching(students_said):
    objective = distillation_objective(students_said, MIX, DistillationConfig(alpha=0.3, gamma=0.2), None)
    assert (objective.alpha, objective.gamma, objective.view_seed) == (0.3, 0.2, 4)


def test_a_domain_without_a_teacher_is_named(students_said):
    for members, domain in ((("a@0", "b@0"), "signs"), (("c@0",), "digits")):
        with pytest.raises(ValueError, match=f"no member answers for the domain '{domain}'"):
            students_said.teacher_logits("mean_probabilities", MIX, temperature=1.0, members=members)


def test_members_are_ranked_among_those_of_their_domain(roster):
    students = [roster["a"], roster["c"], roster["b"]]
    validation_scores = rank(students, MIX, device=CPU)
    assert list(validation_scores) == ["a@0", "c@0", "b@0"]
    assert [score.domain for score in validation_scores.values()] == ["digits", "signs", "digits"]
    assert validation_scores["a@0"].weight + validation_scores["b@0"].weight == pytest.approx(1)
    assert validation_scores["c@0"].weight == pytest.approx(1)
    for student in students:
        own = MIX.of(student.facts.domain)
        right = predict(student.build(), own, device=CPU).argmax(1) == own.labels
        assert validation_scores[student.facts.key].accuracy == pytest.approx(float(right.float().mean()))
    assert rank([roster["t"]], MIX, device=CPU)["t@0"].domain == "all"
