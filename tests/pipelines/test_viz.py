"""The picture of the main experiment in kedro-viz: few datasets, each in a layer, every node described."""

import pytest
from kedro.io import DataCatalog

from knowledge_transfer import settings
from knowledge_transfer.experiment.loader import ExperimentConfigLoader
from knowledge_transfer.hooks.parameters import check_parameters
from knowledge_transfer.pipelines import bidirectional
from tests.project import ROOT

LAYERS = {"raw", "model_input", "models", "reporting"}


@pytest.fixture(scope="module")
def conf():
    return ExperimentConfigLoader(str(ROOT / settings.CONF_SOURCE), **settings.CONFIG_LOADER_ARGS)


@pytest.fixture(scope="module")
def pipeline(conf):
    return bidirectional.create_pipeline(check_parameters(dict(conf["parameters"])))


def datasets(pipeline):
    return {name for name in pipeline.datasets() if not name.startswith("param")}


def test_collapsed_stages_show_few_datasets(pipeline):
    """Hidden is what one stage makes and it alone reads. Beside the others is each of five learners as taught."""

    def stages(side, name):
        return {node.namespace for node in pipeline.nodes if name in getattr(node, side)}

    hidden = [
        name
        for name in datasets(pipeline)
        if (readers := stages("inputs", name)) and len(readers | stages("outputs", name)) == 1
        and stages("outputs", name)
    ]  # fmt: skip
    taught = [name for name in datasets(pipeline) if "_taught_" in name]
    assert len(taught) == 5
    assert len(datasets(pipeline)) - len(hidden) - len(taught) <= 35


def test_every_dataset_has_a_layer(conf, pipeline):
    catalog = DataCatalog.from_config(dict(conf["catalog"]))
    for name in datasets(pipeline):
        assert catalog.get(name).metadata["kedro-viz"]["layer"] in LAYERS, name


def test_every_node_has_a_description(pipeline):
    for node in pipeline.nodes:
        assert node.func.__doc__.partition("\n")[0].endswith("."), node.name
