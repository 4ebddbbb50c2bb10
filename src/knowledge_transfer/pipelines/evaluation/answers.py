"""What every model and every ensemble of a run answered, by key: `resnet8@0`, `ensemble_mean_probabilities@0`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.domains import ALL, within_block
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES, fuse
from knowledge_transfer.learning.ensembles.fusion_weights import FITS
from knowledge_transfer.pipelines.evaluation.routing import MOST_CONFIDENT, ORACLE_ROUTED, routed

Stage = Literal["before", "after", "ensemble", "target", "reference"]
UNAUGMENTED = Augmentation()


@dataclass(frozen=True, eq=False)
class Answer:
    """What `model` answered after `round`, float32 [images, classes]; `members` are whose costs it has.

    `probabilities` are given once the image's domain is known, `joint` without it; in one domain they are the same. A
    model of one `domain` answers for its images alone: its other rows mean nothing.
    """

    model: str
    stage: Stage
    round: int
    members: tuple[str, ...]
    probabilities: Tensor
    joint: Tensor
    domain: str = ALL

    @property
    def key(self) -> str:
        """The answer's name among its run's: `resnet8@0`."""
        return f"{self.model}@{self.round}"

    @property
    def is_vote(self) -> bool:
        """Whether it is a class and no distribution."""
        return self.model.removeprefix("ensemble_") in VOTING_RULES


def stage_of(model: str, round_: int, students: Sequence[str], target: str) -> Stage:
    """Return which part of the experiment a trained model belongs to."""
    if model in students:
        return "before" if round_ == 0 else "after"
    return "target" if model == target else "reference"


def answers_of(
    test: SoftLabels,
    test_images: ImageSet,
    validation: SoftLabels,
    validation_images: ImageSet,
    students: Sequence[str],
    target: str,
    *,
    rules: Sequence[str] = (*FUSION_RULES, *VOTING_RULES),
) -> dict[str, Answer]:
    """Return by key what was answered on the test images; weights and the strongest member come from validation.

    There is an ensemble of the students of each round under each of `rules`, and one without its strongest member; in
    a mix, `ensemble_oracle_routed`, which knows the domain and asks its student, and `ensemble_most_confident`, which
    asks all and believes the one that is most sure.

    Raises ValueError when soft labels belong to other images or to other models.
    """
    logits = by_key(test, test_images)
    members = by_key(validation, validation_images)
    answers = [
        _answer_of(key, each, test_images, test.facts.domains.get(key, ALL), students, target)
        for key, each in logits.items()
    ]
    for round_ in sorted({answer.round for answer in answers if answer.model in students}):
        keys = tuple(f"{student}@{round_}" for student in students)
        if stale := [key for key in keys if test.facts.teachers[key] != validation.facts.teachers.get(key)]:
            raise ValueError(f"test and validation answers are not of the same {', '.join(stale)}: label again")
        if len(test_images.blocks) > 1:
            oracle, joint = routed(logits, keys, test.facts.domains, test_images)
            answers.append(Answer(ORACLE_ROUTED, "ensemble", round_, keys, oracle, oracle))
            answers.append(Answer(MOST_CONFIDENT, "ensemble", round_, keys, oracle, joint))
            continue
        strongest = strongest_student(members, validation_images.labels, students, round_)
        known = torch.stack([members[key] for key in keys])
        fitted = {rule: FITS[rule](known, validation_images.labels) for rule in rules if rule in FITS}
        together = torch.stack([logits[key] for key in keys])
        answers += (_ensemble(together, keys, rule, fitted.get(rule)) for rule in rules)
        if len(students) > 1:
            answers.append(_ensemble_without(together, keys, strongest))
    return {answer.key: answer for answer in answers}


def by_key(soft_labels: SoftLabels, images: ImageSet) -> dict[str, Tensor]:
    """Return each model's float32 logits [images, classes] on the images as they are."""
    facts = soft_labels.facts
    soft_labels.require(images, facts.teachers, views=1, view_seed=0, augmentation=UNAUGMENTED)
    return dict(zip(soft_labels.members, soft_labels.logits[:, :, 0].float(), strict=True))


def rows_of(images: ImageSet, domain: str) -> Tensor:
    """Return bool [images]: which are of `domain`; all of them for `all`."""
    if domain == ALL or len(images.blocks) == 1:
        return torch.ones(len(images), dtype=torch.bool)
    return images.domains == images.blocks.index(images.block(domain))


def share_right(probabilities: Tensor, labels: Tensor) -> float:
    """Return the share of the labels, int64 [N], that have the highest of the probabilities [N, C]."""
    return float((probabilities.argmax(1) == labels).double().mean())


def strongest_student(validation: dict[str, Tensor], labels: Tensor, students: Sequence[str], round_: int) -> str:
    """Return the student of highest accuracy on validation after `round_`; the first of equals."""
    return max(students, key=lambda student: int((validation[f"{student}@{round_}"].argmax(1) == labels).sum()))


def _answer_of(key: str, logits: Tensor, images: ImageSet, domain: str, students: Sequence[str], target: str) -> Answer:
    model, round_ = _model(key), _round(key)
    joint = logits.softmax(1)
    known = joint
    if len(images.blocks) > 1:
        known = within_block(logits, images.domains, images.blocks).softmax(1)
    return Answer(model, stage_of(model, round_, students, target), round_, (key,), known, joint, domain)


def _ensemble(logits: Tensor, keys: tuple[str, ...], rule: str, weights: Tensor | None) -> Answer:
    fused = fuse(logits, rule, weights=weights)
    return Answer(f"ensemble_{rule}", "ensemble", _round(keys[0]), keys, fused, fused)


def _ensemble_without(logits: Tensor, keys: tuple[str, ...], strongest: str) -> Answer:
    kept = [position for position, key in enumerate(keys) if _model(key) != strongest]
    rest = tuple(keys[position] for position in kept)
    fused = fuse(logits[kept], "mean_probabilities")
    return Answer(f"ensemble_without_{strongest}", "reference", _round(keys[0]), rest, fused, fused)


def _model(key: str) -> str:
    return key.rsplit("@", 1)[0]


def _round(key: str) -> int:
    return int(key.rsplit("@", 1)[1])
