"""Project settings: hooks, configuration loading."""

import warnings

from knowledge_transfer.console.progress import ProgressHooks
from knowledge_transfer.errors import ErrorHooks
from knowledge_transfer.experiment.loader import ExperimentConfigLoader
from knowledge_transfer.hooks.parameters import ParameterHooks
from knowledge_transfer.hooks.resume import ResumeHooks
from knowledge_transfer.hooks.run_info import RunInfoHooks
from knowledge_transfer.hooks.snapshots import SnapshotHooks
from knowledge_transfer.hooks.timeline import TimelineHooks
from knowledge_transfer.tracking import MlflowHooks

# Kedro 1.7 calls OmegaConf 2.4 by an old name: a user of this project cannot change that.
warnings.filterwarnings("ignore", message="register_new_resolver", category=UserWarning)

CONF_SOURCE = "conf"
CONFIG_LOADER_CLASS = ExperimentConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
# Kedro calls the last first: a run is refused before anything is written.
HOOKS = (
    ErrorHooks(),
    MlflowHooks(),
    ProgressHooks(),
    RunInfoHooks(),
    TimelineHooks(),
    SnapshotHooks(),
    ResumeHooks(),
    ParameterHooks(),
)
