"""What Flower runs of an app: a ServerApp by the run-config key ``mode``, and a ClientApp for its nodes."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid

from fedops.core.errors import Invalid
from fedops.core.suggestions import did_you_mean
from fedops.flower.client_app import answer
from fedops.flower.launch.host_process import say_errors_plainly
from fedops.scalize.flow.installed_app import app_folder

__all__ = ["MANAGER_MODULE", "MODES", "answer", "run_by_mode"]

MODES = ("client", "simulation")
#: The Client Manager of an app that has no module of its own for it.
MANAGER_MODULE = "fedops.client.app_client_manager"


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
        from fedops.flower.launch.device_launcher import run_launcher

        run_launcher(grid, context, app_folder(app_dir), manager_module)
    elif mode == "server":
        raise Invalid(
            "run config: mode = 'server' is no more: a FedOps server plays the rounds of its runs itself; to"
            " run the app without one, say mode = 'simulation'; serverapp = \"own\" in [tool.fedops] needs a"
            " ServerApp of the app's own in [tool.flwr.app.components]"
        )
    elif mode == "simulation":  # plain federated averaging over Flower's own nodes
        from fedops.flower.simulation import run_simulation

        run_simulation(grid, context, app_folder(app_dir))
    else:
        raise Invalid(
            f"run config: mode = '{mode}'{did_you_mean(mode, MODES) or ';'} "
            f"it is one of {', '.join(MODES)}"
        )
