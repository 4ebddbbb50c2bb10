"""SoftLabels: the logits of teachers on every view of a set of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.domains import ALL, Block
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.ensembles import fusion
from knowledge_transfer.learning.ensembles.fusion_weights import RESCALED_RULES

LARGEST_LOGIT = torch.finfo(torch.float16).max


class LabellingFacts(Config):
    """Which images and views were labelled, and by which teachers.

    `teachers` maps each member's key to the hash of its weights, `domains` to the domain whose classes it predicts.
    """

    teachers: dict[str, str]
    domains: dict[str, str] = {}
    images_sha256: str
    class_names: tuple[str, ...]
    views: int = Field(ge=1)
    view_seed: int
    augmentation: Augmentation


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """Every member's logits, float16 [members, images, views, classes], members in the order of `facts.teachers`.

    A member's logits are minus infinity outside its domain's block, and for images that it did not label. Fusion,
    temperature, weights and the choice of members apply when they are read: they need no new labels. Raises ValueError
    when the shape of `logits` contradicts the facts.
    """

    logits: Tensor
    facts: LabellingFacts

    def __post_init__(self) -> None:
        facts = self.facts
        expected = (len(facts.teachers), self.logits.shape[1], facts.views, len(facts.class_names))
        if tuple(self.logits.shape) != expected:
            raise ValueError(f"soft labels of shape {list(self.logits.shape)}, by their facts {list(expected)}")

    @property
    def members(self) -> tuple[str, ...]:
        """Keys of the teachers, in the order of the first dimension."""
        return tuple(self.facts.teachers)

    def require(
        self, images: ImageSet, teachers: Mapping[str, str], *, views: int, view_seed: int, augmentation: Augmentation
    ) -> None:
        """Raise ValueError, naming the change, unless these are those teachers' labels of those views of `images`."""
        facts = self.facts
        stale = [key for key, sha256 in teachers.items() if facts.teachers.get(key) != sha256]
        if stale or facts.teachers.keys() != teachers.keys():
            changed = stale or sorted(facts.teachers.keys() - teachers.keys())
            raise ValueError(f"these soft labels are not from the present {', '.join(changed)}: label again")
        if facts.images_sha256 != images.sha256:
            raise ValueError("these soft labels belong to other images: label again")
        for what, labelled, wanted in (
            ("views", facts.views, views),
            ("view seed", facts.view_seed, view_seed),
            ("augmentation", facts.augmentation, augmentation),
        ):
            if labelled != wanted:
                raise ValueError(f"these soft labels are of {what} {labelled}, the learner wants {wanted}: label again")

    def of(self, images: ImageSet, domain: str) -> SoftLabels:
        """Return the soft labels of one domain's images, over its own classes; those of all images for `all`.

        Raises ValueError when `images` is not the set that was labelled, and when there is no such domain.
        """
        if images.sha256 != self.facts.images_sha256:
            raise ValueError("these soft labels belong to other images: label again")
        own = images.of(domain)
        if own is images:
            return self
        facts = self.facts.model_copy(update={"images_sha256": own.sha256, "class_names": own.class_names})
        return SoftLabels(self.logits[:, images.rows_of(domain)][..., images.block(domain).classes], facts)

    def only(self, members: Sequence[str]) -> SoftLabels:
        """Return the soft labels of these teachers, in this order. Raises ValueError for one that gave none."""
        if missing := [key for key in members if key not in self.members]:
            raise ValueError(f"{', '.join(missing)} gave none of these soft labels: label again")
        teachers = {key: self.facts.teachers[key] for key in members}
        domains = {key: domain for key, domain in self.facts.domains.items() if key in members}
        facts = self.facts.model_copy(update={"teachers": teachers, "domains": domains})
        return SoftLabels(self.logits[[self.members.index(key) for key in members]], facts)

    def teachers_of(self, domain: str) -> tuple[str, ...]:
        """Return the keys of the members that predict the classes of `domain`, alone or with all others."""
        return tuple(key for key in self.members if self.facts.domains.get(key, ALL) in (domain, ALL))

    def teacher_logits(
        self,
        rule: str,
        images: ImageSet,
        *,
        temperature: float,
        members: Sequence[str] | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Return float32 [images, views, classes]: the fused teacher's logits within each image's block.

        Their softmax at `temperature` is the fused distribution of the teachers of the image's domain; outside the
        block they are minus infinity. `images` is the set that was labelled; `members` chooses some teachers (none:
        all); `weights` of a fitted rule are by member. Raises ValueError for a domain without a teacher.
        """
        result = torch.full(self.logits.shape[1:], -torch.inf)
        for block, rows, keys, logits in self._by_block(images, members):
            fitted = None if weights is None else _joined(rule, [weights[key] for key in keys])
            fused = fusion.teacher_logits(logits.flatten(1, 2), rule, temperature=temperature, weights=fitted)
            result[rows, :, block.classes] = fused.view(logits.shape[1:])
        return result

    def member_logits(self, images: ImageSet, *, members: Sequence[str] | None = None) -> Tensor:
        """Return float32 [images, views, members, classes]: the logits of each of an image's teachers, not fused.

        In a mix the members are those of the image's domain; their logits outside its block are minus infinity. Raises
        ValueError where one domain has more teachers than another, or none.
        """
        blocks = list(self._by_block(images, members))
        counts = {block.domain: len(keys) for block, _, keys, _ in blocks}
        if len(set(counts.values())) > 1:
            raise ValueError(f"every domain needs as many separate teachers: here are {counts}")
        _, count, views, classes = self.logits.shape
        result = torch.full((count, views, counts[blocks[0][0].domain], classes), -torch.inf)
        for block, rows, _, logits in blocks:
            result[rows, ..., block.classes] = logits.movedim(0, 2)
        return result

    def _by_block(
        self, images: ImageSet, members: Sequence[str] | None
    ) -> Iterator[tuple[Block, Tensor, list[str], Tensor]]:
        """Yield each block, its rows, its chosen teachers' keys and their logits, float32 [M, rows, views, classes]."""
        for block in images.blocks:
            keys = [key for key in self.teachers_of(block.domain) if members is None or key in members]
            if not keys:
                raise ValueError(f"no teacher predicts the classes of domain '{block.domain}'")
            rows = images.rows_of(block.domain)
            logits = self.logits[[self.members.index(key) for key in keys]][:, rows][..., block.classes]
            yield block, rows, keys, logits.float()


def _joined(rule: str, weights: Sequence[Any]) -> Tensor:
    """Return the chosen members' weights as one float32 tensor [M, ...], scaled to sum to 1, if the rule needs it."""
    given = torch.tensor(weights)
    if rule not in RESCALED_RULES:
        return given
    total = given.sum()
    return given / total if total > 0 else torch.full_like(given, 1 / len(given))
