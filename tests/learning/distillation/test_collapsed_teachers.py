"""A teacher that has collapsed teaches nobody, as long as its domain has another."""

import pytest
import torch
import torch.nn.functional as F

from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.distillation.config import Distillation, DistillationConfig
from knowledge_transfer.learning.distillation.soft_labels import LabellingFacts, SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore, best_members, score_members
from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES
from knowledge_transfer.learning.ensembles.fusion_weights import JOINT_RULES
from tests.conftest import stripes

IMAGES, VALIDATION = stripes(12), stripes(60, seed=1)
KEYS = ("a@0", "b@0", "c@0")


def draw(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def labels():
    facts = LabellingFacts(
        teachers={key: f"hash of {key}" for key in KEYS},
        images_sha256=IMAGES.sha256,
        class_names=IMAGES.class_names,
        views=2,
        view_seed=0,
        augmentation=Augmentation(),
    )
    return SoftLabels(draw(3, 12, 2, 3).half(), facts)


@pytest.fixture(scope="module")
def scores():
    """Of three members, two are right on most images of validation; b answers one class, and is sure of it."""
    right = F.one_hot(VALIDATION.labels, 3) * 2.0
    scored = score_members(KEYS, torch.stack([right + 0.4 * draw(60, 3), torch.eye(3)[[1] * 60] * 9, right]),
                           VALIDATION.labels)  # fmt: skip
    assert [key for key in KEYS if scored[key].collapse] == ["b@0"]
    return scored


def teacher_of(labels, scores, heads=1, **settings):
    return Distillation(labels, DistillationConfig(**settings), scores).objective(IMAGES, heads).teacher_logits


@pytest.mark.parametrize("rule", [rule for rule in (*FUSION_RULES, *VOTING_RULES) if rule not in JOINT_RULES])
def test_a_collapsed_member_is_left_out_of_the_fusion(labels, scores, rule):
    fitted = {key: score.fitted[rule] for key, score in scores.items() if rule in score.fitted}
    others = labels.teacher_logits(rule, IMAGES, temperature=2, members=("a@0", "c@0"), weights=fitted or None)
    assert torch.equal(teacher_of(labels, scores, fusion=rule, temperature=2), others)


def test_a_rule_fitted_to_all_members_keeps_them(labels, scores):
    fitted = {key: score.fitted["stacked"] for key, score in scores.items()}
    everyone = labels.teacher_logits("stacked", IMAGES, temperature=2, weights=fitted)
    assert torch.equal(teacher_of(labels, scores, fusion="stacked", temperature=2), everyone)


def test_of_separate_teachers_each_has_its_head(labels, scores):
    """One head mimics those that have learned; of as many heads as teachers none is left without one."""
    assert torch.equal(teacher_of(labels, scores, fusion="separate"), labels.logits[[0, 2]].float().movedim(0, 2))
    assert teacher_of(labels, scores, heads=3, fusion="separate").shape[2] == 3


def score(accuracy: float, domain: str = "all", collapse: str = "") -> ValidationScore:
    return ValidationScore(domain=domain, accuracy=accuracy, collapse=collapse)


@pytest.mark.parametrize(
    ("collapsed", "top_k", "members"),
    [
        ("", None, "abcd"),
        ("b", None, "acd"),
        ("c", None, "abd"),
        ("ab", None, "abcd"),
        ("cd", None, "abcd"),
        ("abc", None, "abd"),
        ("b", 1, "ad"),
        ("ab", 1, "bd"),
    ],
)
def test_a_domain_keeps_collapsed_members_where_it_has_no_others(collapsed, top_k, members):
    """Signs are taught by c and d; the best of each domain is b or d."""
    of = {"a": ("digits", 0.5), "b": ("digits", 0.6), "c": ("signs", 0.7), "d": ("signs", 0.8)}
    scores = {
        key: score(accuracy, domain, "answers one class" if key in collapsed else "")
        for key, (domain, accuracy) in of.items()
    }
    assert best_members(scores, top_k) == tuple(members)


@pytest.mark.parametrize(("collapsed", "expected"), [("", True), ("a", True), ("b", True), ("ab", False)])
def test_there_is_a_teacher_unless_all_have_collapsed(labels, collapsed, expected):
    scores = {key: score(0.5, collapse="answers one class" if key in collapsed else "") for key in "ab"}
    assert Distillation(labels, DistillationConfig(), scores).has_teacher is expected


def test_teachers_without_scores_are_trusted(labels):
    assert Distillation(labels, DistillationConfig()).has_teacher


def test_separate_teachers_have_their_heads_whatever_they_have_become(labels, scores):
    """Three heads need three teachers; one head learns from those that are fit to teach."""
    assert teacher_of(labels, scores, heads=3, fusion="separate").shape[2] == 3
    assert teacher_of(labels, scores, heads=3, fusion="separate", top_k=3).shape[2] == 3
    assert teacher_of(labels, scores, fusion="separate").shape[2] == 2


def test_heads_of_one_fused_teacher_learn_without_the_collapsed(labels, scores):
    others = labels.teacher_logits("mean_logits", IMAGES, temperature=2, members=("a@0", "c@0"))
    assert torch.equal(teacher_of(labels, scores, heads=2, fusion="mean_logits", temperature=2), others)
