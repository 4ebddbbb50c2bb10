"""Students of one domain each: which one is taken for an image, and the comparisons and text of a mix."""

import pytest
import torch

from knowledge_transfer.experiment.stage_config import Roster
from knowledge_transfer.learning.data.domains import Block, union_names
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.pipelines.evaluation import comparisons, summary_text
from knowledge_transfer.pipelines.evaluation.comparisons import ACCURACY, JOINT_ACCURACY, Comparison
from knowledge_transfer.pipelines.evaluation.predictions import routed

BLOCKS = (Block("a", 0, ("x", "y")), Block("b", 2, ("u", "v", "w")))


def mix(labels: list[int]) -> ImageSet:
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    return ImageSet(images, torch.tensor(labels), union_names(BLOCKS), blocks=BLOCKS)


def logits_of(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).log()


NO = 0.0


def test_the_most_confident_student_is_taken():
    """Image 0 is of a and a is confident; image 1 is of a and b is more so; image 2 is of b and a is more so."""
    logits = {
        "one@0": logits_of([0.9, 0.1, NO, NO, NO], [0.6, 0.4, NO, NO, NO], [0.3, 0.7, NO, NO, NO]),
        "two@0": logits_of([NO, NO, 0.5, 0.3, 0.2], [NO, NO, 0.1, 0.2, 0.7], [NO, NO, 0.2, 0.6, 0.2]),
    }
    oracle, confident = routed(logits, tuple(logits), {"one@0": "a", "two@0": "b"}, mix([0, 0, 3]))
    torch.testing.assert_close(oracle, torch.tensor([[0.9, 0.1, 0, 0, 0], [0.6, 0.4, 0, 0, 0], [0, 0, 0.2, 0.6, 0.2]]))
    torch.testing.assert_close(
        confident, torch.tensor([[0.9, 0.1, 0, 0, 0], [0, 0, 0.1, 0.2, 0.7], [0.3, 0.7, 0, 0, 0]])
    )


def test_students_of_one_domain_predict_their_mean():
    logits = {
        "one@0": logits_of([0.9, 0.1, NO, NO, NO]),
        "twin@0": logits_of([0.1, 0.9, NO, NO, NO]),
        "two@0": logits_of([NO, NO, 0.2, 0.6, 0.2]),
    }
    domains = {"one@0": "a", "twin@0": "a", "two@0": "b"}
    oracle, confident = routed(logits, tuple(logits), domains, mix([0]))
    torch.testing.assert_close(oracle, torch.tensor([[0.5, 0.5, 0, 0, 0]]))
    torch.testing.assert_close(confident, torch.tensor([[0, 0, 0.2, 0.6, 0.2]]))


def test_nearly_certain_students_do_not_tie():
    """In single precision both probabilities are 1, and the first domain would always be taken."""
    logits = {
        "one@0": torch.tensor([[20.0, 0.0, -torch.inf, -torch.inf, -torch.inf]]),
        "two@0": torch.tensor([[-torch.inf, -torch.inf, 25.0, 0.0, 0.0]]),
    }
    assert float(logits["one@0"].softmax(1).max()) == float(logits["two@0"].softmax(1).max()) == 1
    _, confident = routed(logits, tuple(logits), {"one@0": "a", "two@0": "b"}, mix([0]))
    assert confident.argmax(1).tolist() == [2]


def test_comparisons_of_a_mix():
    wanted = list(comparisons.comparisons_of_mix(Roster(("one", "two"), "big", 2), {"one": "a", "two": "b"}))
    assert Comparison(comparisons.TARGET_OR_LABELS, "big_taught@2", "big_labels@2", "all", JOINT_ACCURACY) in wanted
    oracle, confident = (f"ensemble_{rule}@1" for rule in ("oracle_routed", "most_confident"))
    assert Comparison(comparisons.TARGET_OR_ORACLE, "big_taught@2", oracle, "all", ACCURACY) in wanted
    assert Comparison(comparisons.TARGET_OR_CONFIDENT, "big_taught@2", confident, "all", JOINT_ACCURACY) in wanted
    assert Comparison(comparisons.TARGET_OR_STUDENT, "big_taught@2", "two@1", "b", student="two") in wanted
    assert Comparison(comparisons.TAUGHT_OR_CONTINUED, "one_taught@2", "one_continued@2", "a", student="one") in wanted
    assert Comparison(comparisons.TAUGHT_OR_BEFORE, "two_taught@2", "two@0", "b", student="two") in wanted
    assert Comparison(comparisons.AFTER_OR_BEFORE, "one@2", "one@0", "a", student="one") in wanted
    assert all("_taught@" in each.a for each in wanted if each.question.startswith("target or"))


def compared(question: str, b: str, verdict: str, domain: str = "all", measure: str = ACCURACY, sign: int = 1) -> dict:
    return {"question": question, "a": "big_taught@1", "b": b, "domain": domain, "measure": measure, "verdict": verdict,
            "student": b.split("@", maxsplit=1)[0],
            "difference": 0.1 * sign, "standard_error": 0.01, "p_value": 0.01}  # fmt: skip


METRICS = [
    {"model": model, "stage": stage, "of": "big", "round": 1, "domain": domain, "accuracy": accuracy,
     "joint_accuracy": accuracy - 0.1}
    for model, stage, accuracy in (("big", "target", 0.5), ("big_taught", "taught", 0.9))
    for domain in ("all", "a", "b")
]  # fmt: skip
LINEAGE = {
    "big_taught@1": {"parents": {"one@0": ""}, "validation_nll": {}, "warning": ""},
    "big@1": {"parents": {"big_taught@1": ""}, "validation_nll": {"big_taught@1": 0.1}, "warning": ""},
}


def test_the_lead_of_a_mix_has_both_accuracies():
    rows = [
        compared(comparisons.TARGET_OR_LABELS, "big_labels@1", "gain"),
        compared(comparisons.TARGET_OR_LABELS, "big_labels@1", "none", measure=JOINT_ACCURACY),
        compared(comparisons.TARGET_OR_NO_LABELS, "big_no_labels@1", "not beyond chance", measure=JOINT_ACCURACY),
        compared(comparisons.TARGET_OR_CONFIDENT, "ensemble_most_confident@0", "gain", measure=JOINT_ACCURACY),
        compared(comparisons.TARGET_OR_STUDENT, "one@0", "gain", "a"),
        compared(comparisons.TARGET_OR_STUDENT, "twin@0", "none", "b"),
        compared(comparisons.TARGET_OR_STUDENT, "two@0", "none", "b"),
    ]
    _, known, joint, beside, _, _ = summary_text.lead(rows, METRICS, LINEAGE)
    assert known.startswith("big_taught")
    assert "90.0\N{NO-BREAK SPACE}% of the test images, with the domain of each image known" in known
    assert "80.0\N{NO-BREAK SPACE}%; on labels alone on 70.0" in joint
    for phrase in ("less than its error", "not beyond chance", "a gain"):
        assert phrase in joint
    assert "better than one on a" in beside
    assert beside.endswith("not shown to differ from a student of b.")


@pytest.mark.parametrize(("verdict", "sign", "phrase"), [("gain", 1, "better than"), ("loss", -1, "worse than")])
def test_the_lead_names_domains_better_and_worse(verdict, sign, phrase):
    rows = [compared(comparisons.TARGET_OR_STUDENT, "one@0", verdict, "a", sign=sign)]
    assert f"{phrase} one on a" in summary_text.lead(rows, METRICS, LINEAGE)[3]
