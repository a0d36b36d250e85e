"""What Flower runs of an app: a ServerApp by the run-config key ``mode``, and a ClientApp for its nodes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Message
from flwr.serverapp import Grid

from fedops.core.errors import Invalid
from fedops.core.words import did_you_mean
from fedops.flower.apps import make_handler
from fedops.flower.hosting import say_errors_plainly
from fedops.flower.launcher import run_launcher
from fedops.flower.simulation import run_simulation
from fedops.scalize.installed import app_folder
from fedops.scalize.project import Project

MODES = ("client", "server", "simulation")
#: The Client Manager of an app that has no module of its own for it.
MANAGER_MODULE = "fedops.client.app_manager"


def run_by_mode(
    grid: Grid, context: Context, app_dir: Path, manager_module: str = MANAGER_MODULE
) -> None:
    """Be what ``mode`` says; ``app_dir`` is where Flower has unpacked the app.

    Raises:
        FedOpsError: it failed, or there is no such mode; Flower's log says the message alone.
    """
    say_errors_plainly()
    mode = str(context.run_config.get("mode", "client"))
    if mode == "client":  # this machine takes part in a task of a FedOps server
        run_launcher(grid, context, app_folder(app_dir), manager_module)
    elif mode == "server":
        raise Invalid(
            "run config: mode = 'server' is no more: a FedOps server starts the round engine of its runs "
            "itself; to run the app without a server, use mode = 'simulation'"
        )
    elif mode == "simulation":  # plain federated averaging over Flower's own nodes
        run_simulation(grid, context, app_folder(app_dir))
    else:
        raise Invalid(
            f"run config: mode = '{mode}'{did_you_mean(mode, MODES) or ';'} "
            f"it is one of {', '.join(MODES)}"
        )


def answer(message: Message, context: Context, app_dir: Path) -> Message:
    """Train or evaluate as a FedOps device does, on a node of stock Flower."""
    return _handler(app_dir, node_name(context), node_part(context))(message, context)


@lru_cache(maxsize=8)
def _handler(
    app_dir: Path, name: str, part: tuple[str, ...]
) -> Callable[[Message, Context], Message]:
    """Model and data stay loaded in this process, of the nodes that it served last."""
    return make_handler(Project.open(app_folder(app_dir), part), name)


def node_name(context: Context) -> str:
    """What the node is called. With a part of the data its name, and so its seed, is always the same."""
    return f"client-{context.node_config.get('partition-id', context.node_id)}"


def node_part(context: Context) -> tuple[str, ...]:
    """Which part of the data this node takes, where Flower says so (in a simulation)."""
    node = context.node_config
    if "partition-id" not in node or "num-partitions" not in node:
        return ()
    return (
        f"dataset.partition.of={node['num-partitions']}",
        f"dataset.partition.index={node['partition-id']}",
    )
