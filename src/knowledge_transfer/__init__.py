"""Bidirectional ensemble knowledge transfer: small classifiers teach a large one, and it teaches them back.

The words of this package, and of its configuration, plots and MLflow runs:

student, target
    Identities: the small networks; the one large network.
teacher, learner
    Roles: a teacher gives soft labels, a learner receives gradient. A student can be a teacher.
ensemble, member
    Several models that predict together; one of them.
fusion
    The rule from the members' logits to one distribution: mean of probabilities, of logits, weighted, votes.
label, soft label
    A class index; a teacher's distribution over the classes at a temperature.
alpha
    The weight of the soft loss, in [0, 1]: 0 learns from labels alone, 1 from soft labels alone.
domain, block
    One source data set of a mix; its slice of the union of label spaces. Accuracy counts predictions within the image's
    block, joint accuracy predictions over all classes, with the domain unknown.
gamma
    The weight of -log of the probability of an image's whole block: from it a learner learns the domain.
student set, transfer set, validation set, test set
    The images of the students; those through which knowledge passes; those held out of the student set for every
    choice; the published test images, read once, at the end.
view
    One augmentation of one image: a pure function of (image, view number, seed), so that teacher and learner see the
    same pixels.
target distillation, reverse distillation, round
    The ensemble teaches the target; the target teaches the students; one of each.
recipe
    Every option of one fit.
stage, study, arm
    A pipeline of the default run; a pipeline for one question; one row of its table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from knowledge_transfer.classifier import load

__all__ = ["load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Only when used: no command waits for torch because of it.
    if name != "load":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from knowledge_transfer.classifier import load

    return load
