"""The predictions of every model and every ensemble of a run, by key: `resnet8@0`, `ensemble_mean_probabilities@0`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from knowledge_transfer.experiment.stage_config import ENSEMBLE, Model, Roster
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.domains import ALL, within_block
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import FUSION_RULES, VOTING_RULES, fuse
from knowledge_transfer.learning.ensembles.fusion_weights import FITS

UNAUGMENTED = Augmentation()
MAIN_RULE = "mean_probabilities"
ORACLE_ROUTED, MOST_CONFIDENT = "oracle_routed", "most_confident"  # rules of a mix, whose students differ in domain


@dataclass(frozen=True, eq=False)
class Prediction:
    """Class probabilities of a model, float32 [images, classes]; its costs are those of `members`.

    `probabilities` use the domain of the image, `joint` does not; in one domain they are equal. Rows outside the
    model's own `domain` mean nothing.
    """

    model: Model
    members: tuple[str, ...]
    probabilities: Tensor
    joint: Tensor
    domain: str = ALL

    @property
    def is_vote(self) -> bool:
        """Whether it is a class without a distribution."""
        return self.model.arm in VOTING_RULES


def ensemble_of(rule: str, round_: int) -> Model:
    """Return the ensemble of the students after that round under a fusion rule."""
    return Model(f"{ENSEMBLE}_{rule}", round_, "ensemble", ENSEMBLE, rule)


def ensemble_without(student: str, round_: int) -> Model:
    """Return the ensemble after that round without one student, which is a reference arm."""
    return Model(f"{ENSEMBLE}_without_{student}", round_, "reference", ENSEMBLE, f"without {student}")


def predictions_of(
    test: SoftLabels,
    test_images: ImageSet,
    validation: SoftLabels,
    validation_images: ImageSet,
    roster: Roster,
    *,
    rules: Sequence[str] = (*FUSION_RULES, *VOTING_RULES),
) -> dict[str, Prediction]:
    """Return every prediction on the test images by key; weights and the strongest member come from validation.

    Each round has an ensemble of the students under each of `rules`, and one without its strongest. A mix has two
    others: `oracle_routed` uses the student of the domain, `most_confident` that with the highest probability. Raises
    ValueError for soft labels of other images or models.
    """
    logits, members, models = by_key(test, test_images), by_key(validation, validation_images), roster.models
    found = [_single(models[key], each, test_images, test.facts.domains.get(key, ALL)) for key, each in logits.items()]
    for round_ in sorted({models[key].round for key in logits if models[key].of in roster.students}):
        keys = roster.students_after(round_)
        if stale := [key for key in keys if test.facts.teachers[key] != validation.facts.teachers.get(key)]:
            raise ValueError(f"test and validation logits are not of the same {', '.join(stale)}: label again")
        if len(test_images.blocks) > 1:
            oracle, joint = routed(logits, keys, test.facts.domains, test_images)
            found.append(Prediction(ensemble_of(ORACLE_ROUTED, round_), keys, oracle, oracle))
            found.append(Prediction(ensemble_of(MOST_CONFIDENT, round_), keys, oracle, joint))
        else:
            found += _ensembles(logits, members, validation_images.labels, roster, round_, rules)
    return {prediction.model.key: prediction for prediction in found}


def by_key(soft_labels: SoftLabels, images: ImageSet) -> dict[str, Tensor]:
    """Return the float32 logits [images, classes] of each model on the images as they are."""
    facts = soft_labels.facts
    soft_labels.require(images, facts.teachers, views=1, view_seed=0, augmentation=UNAUGMENTED)
    return dict(zip(soft_labels.members, soft_labels.logits[:, :, 0].float(), strict=True))


def rows_of(images: ImageSet, domain: str) -> Tensor:
    """Return bool [images]: which are of `domain`; all of them for `all`."""
    if domain == ALL or len(images.blocks) == 1:
        return torch.ones(len(images), dtype=torch.bool)
    return images.domains == images.blocks.index(images.block(domain))


def accuracy(probabilities: Tensor, labels: Tensor) -> float:
    """Return the share, in [0, 1], of labels int64 [N] that have the highest of the probabilities [N, C]."""
    return float((probabilities.argmax(1) == labels).double().mean())


def strongest_student(validation: Mapping[str, Tensor], labels: Tensor, roster: Roster, round_: int) -> str:
    """Return the student of highest accuracy on validation after `round_`; the first of equals."""
    return max(roster.students, key=lambda name: int((validation[f"{name}@{round_}"].argmax(1) == labels).sum()))


def routed(
    logits: Mapping[str, Tensor], keys: Sequence[str], domains: Mapping[str, str], images: ImageSet
) -> tuple[Tensor, Tensor]:
    """Return distributions, float32 [images, classes]: routed by an oracle, which knows the domain, and by confidence.

    `logits` and `domains` are by key, `keys` those of the students; several of one domain predict by their mean
    probability.
    """
    joined = torch.zeros_like(logits[keys[0]])
    highest = []
    for block in images.blocks:
        members = torch.stack([logits[key][:, block.classes] for key in keys if domains[key] == block.domain])
        joined[:, block.classes] = fuse(members, MAIN_RULE)
        # In single precision, confident students would tie at 1, and the first domain would win.
        highest.append(members.double().softmax(2).mean(0).max(1).values)
    oracle = within_block(joined.log(), images.domains, images.blocks).exp()
    return oracle, within_block(joined.log(), torch.stack(highest).argmax(0), images.blocks).exp()


def _single(model: Model, logits: Tensor, images: ImageSet, domain: str) -> Prediction:
    joint = known = logits.softmax(1)
    if len(images.blocks) > 1:
        known = within_block(logits, images.domains, images.blocks).softmax(1)
    return Prediction(model, (model.key,), known, joint, domain)


def _ensembles(
    logits: Mapping[str, Tensor],
    validation: Mapping[str, Tensor],
    labels: Tensor,
    roster: Roster,
    round_: int,
    rules: Sequence[str],
) -> Iterator[Prediction]:
    """Yield the ensemble of one round under each rule, then the one without its strongest member."""
    keys = roster.students_after(round_)
    known, together = (torch.stack([of[key] for key in keys]) for of in (validation, logits))
    for rule in rules:
        fused = fuse(together, rule, weights=FITS[rule](known, labels) if rule in FITS else None)
        yield Prediction(ensemble_of(rule, round_), keys, fused, fused)
    if len(keys) > 1:
        strongest = strongest_student(validation, labels, roster, round_)
        rest = tuple(key for name, key in zip(roster.students, keys, strict=True) if name != strongest)
        fused = fuse(torch.stack([logits[key] for key in rest]), MAIN_RULE)
        yield Prediction(ensemble_without(strongest, round_), rest, fused, fused)
