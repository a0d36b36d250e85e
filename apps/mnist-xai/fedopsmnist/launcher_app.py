"""Flower's ServerApp: what it is in this run is said by the run-config key ``mode``."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedops.core.errors import Invalid
from fedops.core.words import did_you_mean
from fedops.flower.hosting import say_errors_plainly

APP_DIR = Path(__file__).resolve().parents[1]
MODES = ("client", "server", "simulation")

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    say_errors_plainly()
    mode = str(context.run_config.get("mode", "client"))
    if mode == "client":  # this machine takes part in a task of a FedOps server
        from fedops.flower.launcher import run_launcher

        run_launcher(grid, context, APP_DIR, "fedopsmnist.client_manager_main")
    elif mode == "server":  # the round engine of a task, submitted by the Server Manager
        from fedops.flower.apps import run_server

        run_server(grid, context)
    elif mode == "simulation":  # plain federated averaging over Flower's own nodes
        from fedops.flower.simulation import run_simulation

        run_simulation(grid, context, APP_DIR)
    else:
        raise Invalid(
            f"run config: mode = '{mode}'{did_you_mean(mode, MODES) or ';'} "
            f"it is one of {', '.join(MODES)}"
        )
