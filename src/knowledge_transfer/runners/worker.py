"""What runs a node away from the driver, whichever runner sent it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks, _register_hooks_entry_points
from kedro.framework.project import configure_logging, configure_project, settings
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import Task

from knowledge_transfer.errors import is_user_error, told
from knowledge_transfer.learning.distributed.worker import RankKilledError
from knowledge_transfer.learning.training import events
from knowledge_transfer.runners.messages import Order, Setting, built

if TYPE_CHECKING:
    from pluggy import PluginManager

PLACE = "KNOWLEDGE_TRANSFER_PLACE"  # in the environment of a process that runs nodes for a driver elsewhere
Tell = Callable[[object], None]


@dataclass(frozen=True)
class Saved:
    """An output has been written."""

    dataset_name: str


@dataclass(frozen=True)
class Done:
    """The node is over; `outputs` are those that the driver keeps."""

    outputs: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """The node raised. `is_user_error`: its message is meant for the user, who needs no traceback."""

    message: str
    traceback: str
    is_user_error: bool


@dataclass(frozen=True)
class Killed:
    """A process of the node is gone and has not said why: its own, or that of one of its ranks."""

    how: str


def place() -> str | None:
    """Return where the driver has placed this process; none in the driver itself."""
    return os.environ.get(PLACE)


def prepare(setting: Setting) -> None:
    """Set the project up, as `kedro run` has done in the driver; before an order is read, whose classes it names."""
    os.environ.update(setting.environment)
    if setting.package:
        configure_project(setting.package)
    if setting.logging:
        configure_logging(dict(setting.logging))
    _hooks()


def execute(order: Order, tell: Tell) -> Done | Failed | Killed:
    """Run the node with the project's hooks, and tell what its fit says and which outputs are saved meanwhile."""
    catalog = DataCatalog(
        {
            **{name: built(name, stored) for name, stored in order.stored.items()},
            **{name: MemoryDataset(data, copy_mode="assign") for name, data in order.memory.items()},
            **{name: MemoryDataset(copy_mode="assign") for name in order.returned},
        }
    )
    hooks, saving = _hooks(), _Saving(tell)
    hooks.register(saving)
    events.subscribe(tell)
    try:
        Task(order.node, catalog, order.is_async, hooks, order.run_id).execute()
        return Done({name: catalog.load(name) for name in order.returned})
    except RankKilledError as error:
        return Killed(f"lost a process of its own: {error}")
    except Exception as error:
        message = told(error) if is_user_error(error) else f"{type(error).__name__}: {error}"
        return Failed(message, traceback.format_exc(), is_user_error(error))
    finally:
        events.unsubscribe(tell)
        hooks.unregister(saving)


class _Saving:
    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        self._tell(Saved(dataset_name))


@cache
def _hooks() -> PluginManager:
    manager = _create_hook_manager()
    _register_hooks(manager, settings.HOOKS)
    # What kedro-viz shows of a run is written by the driver; here it would write over it.
    _register_hooks_entry_points(manager, (*settings.DISABLE_HOOKS_FOR_PLUGINS, "kedro-viz"))
    return manager
