import dataclasses
import json

import pytest
import torch
import torch.nn.functional as F

from knowledge_transfer.learning.data.augmentation import Augmentation, render
from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.distillation.config import Distillation, DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.soft_labels import LabellingFacts, SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore, best_members, rank, score_members
from knowledge_transfer.learning.ensembles import fusion
from knowledge_transfer.learning.ensembles.fusion import fuse
from knowledge_transfer.learning.ensembles.fusion_weights import FITS
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.models.architecture import Architecture
from tests.conftest import stripes, two_domains
from tests.models import CPU, QUICK, fit

CROP = Augmentation(crop=3, flip=True)


@pytest.fixture(scope="module")
def teachers():
    kinds = {"a": "simple_cnn", "b": "squeezenet"}
    return [fit(name, stripes(30), Architecture(kind=kind, width=0.25), seed=1) for name, kind in kinds.items()]


@pytest.fixture(scope="module")
def labels(teachers):
    return label(teachers, stripes(30), views=3, view_seed=4, augmentation=CROP, device=CPU)


def test_labels_are_predictions_on_the_learners_views(teachers, labels):
    images = stripes(30)
    assert labels.logits.shape == (2, 30, 3, 3)
    assert labels.members == ("a@0", "b@0")
    for member, teacher in enumerate(teachers):
        seen = render(images.images, torch.tensor([7]), view=2, seed=4, augmentation=CROP).pixels
        with torch.no_grad():
            predicted = teacher.build()(seen)
        torch.testing.assert_close(labels.logits[member, 7, 2].float(), predicted[0], atol=0.05, rtol=0.05)


def test_labelling_moves_no_statistics(teachers):
    """A teacher in training mode would normalise by the batch, and its running statistics would drift."""
    before = teachers[1].sha256
    one = label(teachers, stripes(30), views=1, view_seed=0, augmentation=Augmentation(), device=CPU)
    part = stripes(30).subset(torch.arange(3))
    other = label(teachers, part, views=1, view_seed=0, augmentation=Augmentation(), device=CPU)
    torch.testing.assert_close(one.logits[:, :3].float(), other.logits.float(), atol=0.05, rtol=0.02)
    assert dataclasses.replace(teachers[1]).sha256 == before


def objective_of(labels, images, scores=None, **settings):
    return Distillation(labels, DistillationConfig(**settings), scores).objective(images)


def require(labels, **changes):
    wanted = {
        "images": stripes(30),
        "teachers": dict(labels.facts.teachers),
        "views": 3,
        "view_seed": 4,
        "augmentation": CROP,
    } | changes
    labels.require(wanted.pop("images"), wanted.pop("teachers"), **wanted)


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
    require(labels)
    if changes.get("teachers"):
        changes = {"teachers": {**changes["teachers"], "b@0": labels.facts.teachers["b@0"]}}
    with pytest.raises(ValueError, match=message):
        require(labels, **changes)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (stripes(30, classes=2), "a@0 predicts the classes"),
        (stripes(30, channels=3), r"a@0 takes images of \[1, 32, 32\], these are \[3, 32, 32\]"),
    ],
)
def test_teachers_of_other_images_are_refused(teachers, images, message):
    with pytest.raises(ValueError, match=message):
        label(teachers, images, views=1, view_seed=0, augmentation=Augmentation(), device=CPU)


def test_reading_fuses_the_chosen_members(labels):
    both = labels.teacher_logits("mean_probabilities", stripes(30), temperature=2.0)
    expected = (labels.logits.float() / 2).softmax(-1).mean(0)
    torch.testing.assert_close((both / 2).softmax(-1), expected)
    one = labels.teacher_logits("mean_probabilities", stripes(30), temperature=2.0, members=("b@0",))
    torch.testing.assert_close((one / 2).softmax(-1), (labels.logits[1].float() / 2).softmax(-1))


SCORES = {
    "a@0": ValidationScore(fitted={"weighted": 0.25}, accuracy=0.9),
    "b@0": ValidationScore(fitted={"weighted": 0.75}, accuracy=0.8),
}


def test_an_objective_weighs_and_chooses_by_score(labels):
    weighted = objective_of(labels, stripes(30), SCORES, fusion="weighted", temperature=1)
    probabilities = labels.logits.float().softmax(-1)
    expected = 0.25 * probabilities[0] + 0.75 * probabilities[1]
    torch.testing.assert_close(weighted.teacher_logits.softmax(-1), expected)
    best = objective_of(labels, stripes(30), SCORES, top_k=1, temperature=1)
    torch.testing.assert_close(best.teacher_logits.softmax(-1), probabilities[0])
    assert best_members(SCORES, None) == ("a@0", "b@0")
    with pytest.raises(ValueError, match="need the members' validation scores"):
        objective_of(labels, stripes(30), top_k=1)


def test_an_objective_reads_the_fitted_weights(labels):
    validation = stripes(40)
    logits = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0))
    scores = score_members(["b@0", "a@0"], logits, validation.labels)
    # As nodes store them.
    scores = {key: ValidationScore(**json.loads(each.model_dump_json())) for key, each in scores.items()}
    logits_of_views = labels.logits.float().flatten(1, 2)
    for rule, fitting in FITS.items():
        objective = objective_of(labels, stripes(30), scores, fusion=rule, temperature=2)
        fused = fuse(logits_of_views, rule, temperature=2, weights=fitting(logits, validation.labels).flip(0))
        torch.testing.assert_close((objective.teacher_logits / 2).softmax(-1).flatten(0, 1), fused)
        with pytest.raises(ValueError, match=f"{rule} fusion need the members' validation scores"):
            objective_of(labels, stripes(30), fusion=rule)


def test_another_fitted_rule_is_scored_and_applied(labels, monkeypatch):
    best = lambda logits, labels: F.one_hot((logits.argmax(2) == labels).sum(1).argmax(), len(logits))  # noqa: E731
    choice = lambda logits, temperature, weights: (logits[int(weights.argmax())] / temperature).softmax(1)  # noqa: E731
    monkeypatch.setitem(FITS, "best", best)
    monkeypatch.setitem(fusion._RULES, "best", choice)
    monkeypatch.setattr(fusion, "FUSION_RULES", tuple(fusion._RULES))
    truth = stripes(40).labels
    scores = score_members(labels.members, torch.stack([torch.zeros(40, 3), F.one_hot(truth, 3)]), truth)
    assert [score.fitted["best"] for score in scores.values()] == [0, 1]
    weights = {key: score.fitted["best"] for key, score in scores.items()}
    fused = labels.teacher_logits("best", stripes(30), temperature=2, weights=weights)
    torch.testing.assert_close((fused / 2).softmax(-1), (labels.logits[1].float() / 2).softmax(-1))


def test_some_of_the_teachers_alone(labels):
    one = labels.only(["b@0"])
    assert one.members == ("b@0",)
    assert torch.equal(one.logits[0], labels.logits[1])
    assert labels.only(["b@0", "a@0"]).members == ("b@0", "a@0")
    with pytest.raises(ValueError, match="c@0 gave none of these soft labels: label again"):
        labels.only(["a@0", "c@0"])


def test_members_kept_apart_are_those_chosen(labels):
    objective = objective_of(labels, stripes(30), fusion="separate")
    assert torch.equal(objective.teacher_logits, labels.logits.float().movedim(0, 2))
    best = objective_of(labels, stripes(30), SCORES, fusion="separate", top_k=1)
    assert torch.equal(best.teacher_logits, labels.logits[:1].float().movedim(0, 2))


def test_mse_to_the_own_teacher_is_zero(labels):
    objective = objective_of(labels, stripes(30), SCORES, loss="mse", temperature=4, top_k=1)
    learner = labels.logits[0, :, 1].float() + 5  # a shift changes no probability
    assert float(objective.soft_loss(learner, objective.teacher_logits[:, 1], torch.zeros(30).long())) < 1e-6


def test_logits_and_facts_must_agree(labels):
    facts = LabellingFacts(**{**labels.facts.model_dump(), "views": 2})
    with pytest.raises(ValueError, match=r"soft labels of shape \[2, 30, 3, 3\]"):
        SoftLabels(labels.logits, facts)


def test_a_teacher_that_gives_no_numbers_is_refused(teachers):
    state = {name: weights * torch.nan if weights.ndim > 1 else weights for name, weights in teachers[0].state.items()}
    broken = dataclasses.replace(teachers[0], state=state)
    with pytest.raises(ValueError, match="a@0 predicts logits that are not finite"):
        label([broken], stripes(30), views=1, view_seed=0, augmentation=Augmentation(), device=CPU)


MIX = mix(two_domains()).subset(torch.randperm(50, generator=torch.Generator().manual_seed(0)))
ROWS = {block.domain: MIX.domains == position for position, block in enumerate(MIX.blocks)}
MIXUP = Augmentation(mixup=1.0)  # another partner or share would show


@pytest.fixture(scope="module")
def roster():
    """Two students of the digits, one of the signs between them, and a target of both domains."""
    return {
        name: fit(name, MIX.of(domain), recipe=QUICK.override({"epochs": 2}), seed=seed)
        for seed, (name, domain) in enumerate({"a": "digits", "c": "signs", "b": "digits", "t": "all"}.items())
    }


def label_mix(teachers, images=MIX, **how):
    return label(list(teachers), images, views=2, view_seed=4, augmentation=MIXUP, device=CPU, **how)


@pytest.fixture(scope="module")
def mix_labels(roster):
    return label_mix(roster.values())


@pytest.fixture(scope="module")
def student_labels(roster):
    return label_mix([roster["a"], roster["c"], roster["b"]])


def test_a_checkpoint_has_the_domain_of_its_images(roster):
    assert [one.facts.domain for one in roster.values()] == ["digits", "signs", "digits", "all"]
    assert roster["c"].facts.class_names == ("class 0", "class 1")


@pytest.mark.parametrize("every_domain", [False, True])
def test_members_label_their_own_block_alone(roster, every_domain):
    labelled = label_mix(roster.values(), every_domain=every_domain)
    for position, teacher in enumerate(roster.values()):
        domain = teacher.facts.domain
        expected = torch.zeros(50, 2, 5, dtype=torch.bool)
        rows = torch.ones(50, dtype=torch.bool) if every_domain or domain == "all" else ROWS[domain]
        expected[rows, :, teacher.block_in(MIX).classes] = True
        assert labelled.logits[position].isfinite().equal(expected)
        assert (labelled.logits[position][~expected] == -torch.inf).all()
    assert labelled.teachers_of("digits") == ("a@0", "b@0", "t@0")
    assert labelled.teachers_of("signs") == ("c@0", "t@0")


def test_labelling_every_domain_keeps_the_own_labels(roster, mix_labels):
    """Other images get the network's own logits, by which an image is routed to the most confident student."""
    labelled = label_mix(roster.values(), every_domain=True)
    own = mix_labels.logits.isfinite()
    torch.testing.assert_close(labelled.logits[own], mix_labels.logits[own], atol=0.05, rtol=0.05)
    fused, expected = (
        each.teacher_logits("mean_probabilities", MIX, temperature=4.0) for each in (labelled, mix_labels)
    )
    torch.testing.assert_close((fused / 4).softmax(-1), (expected / 4).softmax(-1), atol=0.02, rtol=0)
    others = MIX.subset(ROWS["digits"])
    plain = label([roster["c"]], MIX, views=1, view_seed=0, augmentation=Augmentation(), device=CPU, every_domain=True)
    predicted = predict(roster["c"].build(), others, device=CPU)
    torch.testing.assert_close(plain.logits[0, ROWS["digits"], 0, 3:].float(), predicted, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(("domain", "names"), [("digits", "ab"), ("signs", "c")])
def test_one_domain_of_labels_is_labelled_alone(roster, domain, names):
    students = [roster[name] for name in names]
    part, alone = label_mix(students).of(MIX, domain), label_mix(students, MIX.of(domain))
    assert part.facts == alone.facts
    assert part.logits.equal(alone.logits)
    assert alone.of(MIX.of(domain), domain) is alone
    with pytest.raises(ValueError, match="no domain 'letters'"):
        label_mix(students).of(MIX, "letters")
    with pytest.raises(ValueError, match="these soft labels belong to other images"):
        part.of(MIX, domain)


@pytest.mark.parametrize(("domain", "classes"), [("digits", slice(0, 3)), ("signs", slice(3, 5))])
def test_a_target_teaches_one_domain_within_its_block(roster, mix_labels, domain, classes):
    """The student learns from its own images, the teacher is the softmax of z[block]/T."""
    own = MIX.of(domain)
    part = label_mix([roster["t"]]).of(MIX, domain)
    part.require(own, {"t@0": roster["t"].sha256}, views=2, view_seed=4, augmentation=MIXUP)
    teacher = part.teacher_logits("mean_probabilities", own, temperature=2.0)
    for view in range(2):
        seen = render(own.images, torch.arange(len(own)), view=view, seed=4, augmentation=MIXUP).pixels
        with torch.no_grad():
            predicted = roster["t"].build()(seen)[:, classes]
        torch.testing.assert_close((teacher[:, view] / 2).softmax(1), (predicted / 2).softmax(1), atol=0.02, rtol=0)
    assert mix_labels.of(MIX, "all") is mix_labels


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (
            "signs",
            r"a@0 predicts the classes \['class 0', .*, images of domain 'signs' have \['class 0', 'class 1'",
        ),
        ("letters", "@0 predicts domain 'letters', the images are of digits, signs"),
        ("all", "a@0 predicts the classes .*, images of domain 'all' have"),
    ],
)
def test_a_student_of_another_label_space_is_refused(roster, domain, message):
    stray = dataclasses.replace(roster["a"], facts=roster["a"].facts.model_copy(update={"domain": domain}))
    with pytest.raises(ValueError, match=message):
        label_mix([roster["c"], stray])


def test_a_domains_teacher_fuses_its_own_students(student_labels):
    fused = (student_labels.teacher_logits("mean_probabilities", MIX, temperature=2.0) / 2).softmax(-1)
    a, c, b = (student_labels.logits.float() / 2).softmax(-1)
    torch.testing.assert_close(fused[ROWS["digits"]], (a + b)[ROWS["digits"]] / 2)
    torch.testing.assert_close(fused[ROWS["signs"]], c[ROWS["signs"]])
    assert (fused[ROWS["digits"]][..., 3:] == 0).all()
    assert (fused[ROWS["signs"]][..., :3] == 0).all()


@pytest.mark.parametrize("rule", ["mean_probabilities", "mean_logits", "confidence", "plurality", "weighted"])
def test_students_do_not_change_other_domains_teachers(roster, student_labels, rule):
    state = {key: weights.flip(0) if weights.ndim > 1 else weights for key, weights in roster["a"].state.items()}
    changed = label_mix([dataclasses.replace(roster["a"], state=state), roster["c"], roster["b"]])
    weights = {"a@0": 0.4, "c@0": 1.0, "b@0": 0.6}
    before, after = (
        each.teacher_logits(rule, MIX, temperature=2.0, weights=weights) for each in (student_labels, changed)
    )
    assert before[ROWS["signs"]].equal(after[ROWS["signs"]])
    assert not before[ROWS["digits"]].equal(after[ROWS["digits"]])


def test_scores_count_within_a_domain(student_labels):
    """The best student of the signs teaches them, though students of the digits have higher accuracies."""
    scores = {
        "a@0": ValidationScore(domain="digits", fitted={"weighted": 0.25}, accuracy=0.8),
        "c@0": ValidationScore(domain="signs", fitted={"weighted": 1}, accuracy=0.1),
        "b@0": ValidationScore(domain="digits", fitted={"weighted": 0.75}, accuracy=0.9),
    }
    a, c, b = student_labels.logits.float().softmax(-1)
    weighted = objective_of(student_labels, MIX, scores, fusion="weighted", temperature=1)
    learned = weighted.teacher_logits.softmax(-1)
    torch.testing.assert_close(learned[ROWS["digits"]], (0.25 * a + 0.75 * b)[ROWS["digits"]])
    torch.testing.assert_close(learned[ROWS["signs"]], c[ROWS["signs"]])
    assert best_members(scores, 1) == ("c@0", "b@0")
    for rule in ("mean_probabilities", "weighted"):
        best = objective_of(student_labels, MIX, scores, top_k=1, fusion=rule, temperature=1)
        learned = best.teacher_logits.softmax(-1)
        torch.testing.assert_close(learned[ROWS["digits"]], b[ROWS["digits"]])
        torch.testing.assert_close(learned[ROWS["signs"]], c[ROWS["signs"]])


def test_separate_members_are_as_many_per_domain(student_labels):
    apart = student_labels.member_logits(MIX, members=("b@0", "c@0"))
    assert torch.equal(apart[ROWS["digits"]][:, :, 0, :3], student_labels.logits[2].float()[ROWS["digits"]][..., :3])
    assert torch.equal(apart[ROWS["signs"]][:, :, 0, 3:], student_labels.logits[1].float()[ROWS["signs"]][..., 3:])
    assert (apart[ROWS["signs"]][..., :3] == -torch.inf).all()
    with pytest.raises(ValueError, match=r"as many separate teachers: here are \{'digits': 2, 'signs': 1\}"):
        student_labels.member_logits(MIX)


def test_stacking_and_boosting_keep_to_a_domain(roster, student_labels):
    scores = rank([roster["a"], roster["c"], roster["b"]], MIX, device=CPU)
    assert [len(scores[key].fitted["stacked"]) for key in ("a@0", "c@0", "b@0")] == [4, 3, 4]
    for rule in ("boosted", "stacked"):
        objective = objective_of(student_labels, MIX, scores, fusion=rule, temperature=1)
        for domain, keys, classes in (("digits", ("a@0", "b@0"), slice(0, 3)), ("signs", ("c@0",), slice(3, 5))):
            logits = torch.stack([student_labels.logits[student_labels.members.index(key)].float() for key in keys])
            parts = torch.tensor([scores[key].fitted[rule] for key in keys])
            fused = fuse(logits[:, ROWS[domain], :, classes].flatten(1, 2), rule, weights=parts)
            learned = objective.teacher_logits[ROWS[domain]][..., classes].softmax(-1)
            torch.testing.assert_close(learned.flatten(0, 1), fused)


def test_an_objective_has_the_configured_weights(student_labels):
    objective = objective_of(student_labels, MIX, alpha=0.3, gamma=0.2)
    assert (objective.alpha, objective.gamma, objective.view_seed) == (0.3, 0.2, 4)


def test_a_domain_without_a_teacher_is_named(student_labels):
    for members, domain in ((("a@0", "b@0"), "signs"), (("c@0",), "digits")):
        with pytest.raises(ValueError, match=f"no teacher predicts the classes of domain '{domain}'"):
            student_labels.teacher_logits("mean_probabilities", MIX, temperature=1.0, members=members)


def test_members_are_ranked_among_those_of_their_domain(roster):
    students = [roster["a"], roster["c"], roster["b"]]
    scores = rank(students, MIX, device=CPU)
    assert list(scores) == ["a@0", "c@0", "b@0"]
    assert [score.domain for score in scores.values()] == ["digits", "signs", "digits"]
    assert scores["a@0"].fitted["weighted"] + scores["b@0"].fitted["weighted"] == pytest.approx(1)
    assert scores["c@0"].fitted["weighted"] == pytest.approx(1)
    for student in students:
        own = MIX.of(student.facts.domain)
        right = predict(student.build(), own, device=CPU).argmax(1) == own.labels
        assert scores[student.facts.key].accuracy == pytest.approx(float(right.float().mean()))
    assert rank([roster["t"]], MIX, device=CPU)["t@0"].domain == "all"
