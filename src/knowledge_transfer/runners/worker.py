"""How a process runs a node for the driver of any runner."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from kedro.framework.hooks import hook_impl
from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks, _register_hooks_entry_points
from kedro.framework.project import configure_logging, configure_project, settings
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import Task

from knowledge_transfer.errors import is_user_error, user_message
from knowledge_transfer.learning.distributed.worker import RankKilledError
from knowledge_transfer.learning.training import events
from knowledge_transfer.runners.messages import Done, Failed, Killed, Saved, TaskSpec, WorkerSetup, dataset_of

if TYPE_CHECKING:
    from pluggy import PluginManager


def prepare(setup: WorkerSetup) -> None:
    """Set the project up as `kedro run` does; unpickling a task needs its classes."""
    os.environ.update(setup.environment)
    if setup.package:
        configure_project(setup.package)
    if setup.logging:
        configure_logging(dict(setup.logging))
    _hooks()


def execute(task: TaskSpec, report: Callable[[object], None]) -> Done | Failed | Killed:
    """Run the node with the project's hooks; `report` events of its fit and a Saved for every output."""
    catalog = DataCatalog(
        {
            **{name: dataset_of(name, stored) for name, stored in task.stored.items()},
            **{name: MemoryDataset(data, copy_mode="assign") for name, data in task.memory.items()},
            **{name: MemoryDataset(copy_mode="assign") for name in task.returned},
        }
    )
    hooks, saving = _hooks(), _ReportSaved(report)
    hooks.register(saving)
    events.subscribe(report)
    try:
        Task(task.node, catalog, task.is_async, hooks, task.run_id).execute()
        return Done({name: catalog.load(name) for name in task.returned})
    except RankKilledError as error:
        return Killed(f"lost a process of its own: {error}")
    except Exception as error:
        message = user_message(error) if is_user_error(error) else f"{type(error).__name__}: {error}"
        return Failed(message, traceback.format_exc(), is_user_error(error))
    finally:
        events.unsubscribe(report)
        hooks.unregister(saving)


@dataclass(frozen=True)
class _ReportSaved:
    report: Callable[[object], None]

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        self.report(Saved(dataset_name))


@cache
def _hooks() -> PluginManager:
    manager = _create_hook_manager()
    _register_hooks(manager, settings.HOOKS)
    # kedro-viz follows sequential runs in one process alone.
    _register_hooks_entry_points(manager, (*settings.DISABLE_HOOKS_FOR_PLUGINS, "kedro-viz"))
    return manager
