"""Acceptance, the last node of a distillation: which weights of a learner are kept."""

from kedro.pipeline import node
from kedro.pipeline.node import Node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.experiment.stage_config import CONTINUED, TAUGHT
from knowledge_transfer.experiment.study_steps import named
from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.acceptance import accept, calibrated_nll
from knowledge_transfer.learning.hardware import resolve_device


def acceptance_node(now: Experiment, stage: str, name: str, round_: int) -> Node:
    """Return the node that makes the checkpoint of `name` after `round_` of a distillation stage.

    Candidates are the model as it was, as it was taught and, in the last round, its reference arm on labels alone.
    """
    is_target, is_last = name == now.target.name, round_ == now.rounds
    has_arm = ("labels" if is_target else "students_continued") in now.reference_arms
    arm = "labels" if is_target else CONTINUED
    candidates = {
        "before": None if is_target and round_ == 1 else f"{name}_round{round_ - 1}_checkpoint",
        TAUGHT: f"{name}_{TAUGHT}_round{round_}_checkpoint",
        "on_labels": f"{name}_{arm}_round{round_}_checkpoint" if has_arm and is_last else None,
    }
    shared = {"images": "validation_images", "how": f"params:{stage}.accept", "device": "params:devices"}
    return node(
        named(keep_best, name),
        shared | {what: each for what, each in candidates.items() if each},
        f"{name}_round{round_}_checkpoint",
        name=f"accept_{name}_round{round_}",
        namespace=now.namespace(stage, round_),
        tags=current.acceptance_tags(name, *(["final"] if is_last else [])),
    )


def keep_best(name: str, images: ImageSet, how: str, device: str, **candidates: Checkpoint) -> Checkpoint:
    """Return the weights to keep as those of `name`: by `how`, the best on validation or those that were taught.

    `images` is the validation set, of which those of the learner's domain count. The best have the least calibrated
    NLL; of equals, those from before.
    """
    models, taught = list(candidates.values()), candidates[TAUGHT]
    own, where = images.of(taught.facts.domain), resolve_device(device)
    found = {model.facts.key: calibrated_nll(model, own, where) for model in models}
    kept = taught if how == "always" else min(models, key=lambda each: found[each.facts.key])
    return accept(name, taught.facts.round, kept, found)
