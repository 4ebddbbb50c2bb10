"""Repeats: tables over the seeds of an experiment, each of which has run in a folder of its own."""

from kedro.pipeline import Pipeline, node

from knowledge_transfer.experiment import current
from knowledge_transfer.experiment.config import Experiment
from knowledge_transfer.pipelines.repeats import nodes


def create_pipeline(experiment: Experiment | None = None, parameters: str = "parameters") -> Pipeline:
    """Return the tables of an experiment (none: the present run's); the catalog has its parameters as `parameters`."""
    now = experiment or current.plan().main
    first, last = now.seed, now.seed + now.seeds
    metrics, comparisons = (
        [f"seed_{seed}_{table}" for seed in range(first, last)] for table in ("model_metrics", "comparisons")
    )
    tables = ["repeats_models_table", "repeats_differences_table", "repeats_comparisons"]
    facts = ["run_info", f"seed_{first}_data_report", parameters]
    return Pipeline(
        [
            node(nodes.average_models, ["params:seed", *metrics], "repeats_models_table"),
            node(nodes.join_comparisons, ["params:seed", *comparisons], "repeats_comparisons"),
            node(nodes.average_differences, "repeats_comparisons", "repeats_differences_table"),
            node(nodes.draw_differences, "repeats_comparisons", "repeats_differences_figure"),
            node(nodes.summarise_repeats, ["repeats_models_table", "run_info", "params:seed"], "repeats_summary"),
            node(nodes.write_repeats, [*tables, *facts], "repeats_report_page"),
        ]
    )
