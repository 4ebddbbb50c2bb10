"""Target distillation, one round: rank the members, label with the ensemble, let the target learn, accept it."""

from kedro.pipeline import Pipeline, node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.acceptance import acceptance_node
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.experiment.stage_config import TAUGHT
from knowledge_transfer.pipelines.target_distillation.nodes import distil_target, label_by_ensemble, rank_members


def create_pipeline(experiment: Experiment | None = None, round_: int | None = None) -> Pipeline:
    """Return the stage of one round, none for all of them, of an experiment (none: the present run's)."""
    now = experiment or current.plan().main
    if round_ is None:
        return sum((create_pipeline(now, each) for each in range(1, now.rounds + 1)), start=Pipeline([]))
    target = now.target.name
    namespace = now.namespace("target_distillation", round_)
    students, run = _students(now, round_).values(), ("params:seed", "params:devices")
    return Pipeline(
        [
            node(
                rank_members,
                ["validation_images", "params:devices", *students],
                f"ensemble_round{round_}_validation_scores",
                name=f"rank_members_round{round_}",
                namespace=namespace,
                tags=["gpu"],
            ),
            node(
                label_by_ensemble,
                ["transfer_images", "student_images", "params:target_distillation", *run, *students],
                f"ensemble_round{round_}_soft_labels",
                name=f"label_by_ensemble_round{round_}",
                namespace=namespace,
                tags=["gpu"],
            ),
            node(
                distil_target,
                _learning(now, round_),
                f"{target}_{TAUGHT}_round{round_}_checkpoint",
                name=f"distil_{target}_round{round_}",
                namespace=namespace,
                tags=current.training_tags(f"{target}_{TAUGHT}"),
            ),
            acceptance_node(now, "target_distillation", target, round_),
        ]
    )


def _students(now: Experiment, round_: int) -> dict[str, str]:
    """Return by name the dataset of each student that teaches in this round."""
    return {name: f"{name}_round{round_ - 1}_checkpoint" for name in now.students}


def _learning(now: Experiment, round_: int) -> dict[str, str]:
    """Return the inputs of the node that trains the target, by argument."""
    starts = round_ > 1 and now.target_distillation.distillation.start == "trained"
    return {
        **{name: name for name in ("transfer_images", "student_images", "validation_images", "normalisation")},
        **{name: f"ensemble_round{round_}_{name}" for name in ("soft_labels", "validation_scores")},
        "target": "params:target",
        "stage": "params:target_distillation",
        "seed": "params:seed",
        "device": "params:devices",
        **({"start": f"{now.target.name}_round{round_ - 1}_checkpoint"} if starts else {}),
        **{f"teacher_{name}": student for name, student in _students(now, round_).items()},
    }
