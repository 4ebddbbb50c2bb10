"""The alpha study: a teacher, its soft labels, a learner for every alpha and seed, a table, figures, a page."""

from collections.abc import Iterator

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from knowledge_transfer.experiment.study_nodes import Fit
from knowledge_transfer.experiment.study_steps import ClosingNodes, SetNodes, build_study, named
from knowledge_transfer.experiment.study_tables import compare_arms, gather_rows
from knowledge_transfer.pipelines.alpha_study.report import compose_page, draw_curves
from knowledge_transfer.pipelines.alpha_study.settings import PARTS, TEACHER, Settings


def create_pipeline(settings: Settings | None = None) -> Pipeline:
    """Return the study on each of its data sets, from `settings` (none: the present run's)."""
    return build_study("alpha_study", settings, _nodes_of, _closing)


def _nodes_of(data: SetNodes, settings: Settings) -> Iterator[Node]:
    """Yield the nodes of one data set."""
    roles = settings.roles(data.name)
    teacher, *learners = roles
    yield data.split()
    yield data.train(Fit(teacher), TEACHER)
    yield data.label([teacher], "learner")
    for learner in learners:
        fit = Fit(learner, roles[learner].seed, settings.arms[roles[learner].arm])
        yield data.train(fit, "learner", [teacher])
    for part in PARTS:
        yield data.predict(part, [f"{model}_checkpoint" for model in roles])
    yield data.score(roles, PARTS)
    yield data.curves(roles)
    yield data.figure("curves", draw_curves, ["curves"])


def _closing(study: ClosingNodes, settings: Settings) -> Iterator[Node]:
    """Yield the nodes over all data sets."""
    least = min(settings.arms, key=lambda arm: settings.arms[arm].alpha)
    yield study.compare("arms", named(compare_arms, {arm: least for arm in settings.arms if arm != least}))
    yield study.compare("rows", gather_rows)
    yield study.report(compose_page, ["arms"], ["curves"])
