"""Lineage: whether models belong together, and to the present images."""

from __future__ import annotations

from collections.abc import Sequence

from knowledge_transfer.learning.checkpoint import Facts
from knowledge_transfer.learning.images import ImageSet


def require_one_lineage(models: Sequence[Facts]) -> None:
    """Raise ValueError, naming both, when a model descends from another version of a model that is also here.

    Parents that are not among `models` are not judged. Two different models of one name and round are refused too.
    """
    present: dict[str, str] = {}
    for model in models:
        if present.setdefault(model.key, model.sha256) != model.sha256:
            raise ValueError(f"there are two different {model.key}: compare the models of one run")
    for model in models:
        for parent, sha256 in model.parents.items():
            if present.get(parent, sha256) != sha256:
                raise ValueError(
                    f"{model.key} descends from another {parent} than the one here: "
                    f"run again from the stage that makes {model.key}"
                )


def require_present_images(models: Sequence[Facts], student_images: ImageSet, transfer_images: ImageSet) -> None:
    """Raise ValueError, naming the model, when one learned from other images than the present sets.

    Cut anew, with another seed say, the validation or the transfer set may hold images that an old model learned.
    Models of round 0 learn from the student set, later ones from the transfer set or from both, each of its domain.
    """
    known: dict[str, tuple[set[str], set[str]]] = {}
    for model in models:
        domain = model.domain
        if domain not in known:
            ours, transfer = student_images.of(domain), transfer_images.of(domain)
            known[domain] = {ours.sha256}, {transfer.sha256, transfer.join(ours).sha256}
        first, later = known[domain]
        if model.images_sha256 not in (later if model.round else first):
            raise ValueError(f"{model.key} learned from other images than the present sets: train it again")
