"""The study dark_knowledge: a large teacher, a custom CNN and a much smaller one, with its soft labels and without."""

from collections.abc import Iterator

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from knowledge_transfer.experiment.study_nodes import Fit
from knowledge_transfer.experiment.study_steps import ClosingNodes, SetNodes, build_study, named
from knowledge_transfer.experiment.study_tables import compare_arms, gather_rows
from knowledge_transfer.pipelines.dark_knowledge import nodes
from knowledge_transfer.pipelines.dark_knowledge.report import compose_page, draw_epochs, draw_failure_modes
from knowledge_transfer.pipelines.dark_knowledge.settings import ALONE, FAILURE_MODE, TAUGHT, TEACHER, Settings

PARTS = ("validation", "test")


def create_pipeline(settings: Settings | None = None) -> Pipeline:
    """Return the study on each of its data sets, from `settings` (none: the present run's)."""
    return build_study("dark_knowledge", settings, _nodes_of, _closing)


def _nodes_of(data: SetNodes, settings: Settings) -> Iterator[Node]:
    """Yield the nodes of one data set."""
    roles = settings.roles(data.name)
    teacher, *learners = roles
    yield data.split()
    start = {} if settings.weights is None else {"start": "pretrained_weights"}
    yield data.train(Fit(teacher), TEACHER, **start)
    yield data.label([teacher], "cnn")
    for learner in learners:
        role = roles[learner]
        where = f"failure_modes.{role.learner}" if role.arm == FAILURE_MODE else role.learner
        fit = Fit(learner, role.seed, settings.arms[ALONE if role.arm == ALONE else TAUGHT])
        yield data.train(fit, where, [teacher])
    # Failure modes are diagnosed on the validation set: no claim about them needs the test set.
    judged = {model: role for model, role in roles.items() if role.arm != FAILURE_MODE}
    diagnosed = {model: role for model, role in roles.items() if role.arm in (TAUGHT, FAILURE_MODE)}
    for part in PARTS:
        yield data.predict(part, [f"{model}_checkpoint" for model in judged])
    yield data.score(judged, PARTS)
    yield data.table(
        "diagnosis",
        named(nodes.diagnose, diagnosed),
        {
            "images": f"{data.name}_validation_images",
            "device": "params:devices",
            **{model: f"{model}_checkpoint" for model in diagnosed},
        },
        tags=["gpu"],
    )
    yield data.curves(roles)
    yield data.figure("epochs", draw_epochs, ["curves"])
    yield data.figure("failure_modes", draw_failure_modes, ["curves", "diagnosis"])


def _closing(study: ClosingNodes, _: Settings) -> Iterator[Node]:
    """Yield the nodes over all data sets."""
    yield study.compare("arms", named(compare_arms, {TAUGHT: ALONE}))
    yield study.compare("epochs", nodes.compare_epochs, "curves")
    yield study.compare("failure_modes", nodes.compare_failure_modes, "diagnosis")
    yield study.compare("rows", gather_rows)
    yield study.report(compose_page, ["arms", "epochs", "failure_modes"], ["curves", "diagnosis"])
