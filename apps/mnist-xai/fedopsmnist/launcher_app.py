"""Flower's ServerApp: what it is in this run is said by the run-config key ``mode``."""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedops.core.errors import Invalid
from fedops.core.words import did_you_mean
from fedops.flower.apps import run_server

MODES = ("client", "server", "simulation")

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    mode = str(context.run_config.get("mode", "client"))
    if mode == "server":
        run_server(grid, context)
        return
    if mode not in MODES:
        raise Invalid(
            f"run config: mode = '{mode}'{did_you_mean(mode, MODES) or ';'} "
            f"it is one of {', '.join(MODES)}"
        )
    raise Invalid(
        f"mode '{mode}' is not there yet; to take part as a device, run `fedops join URL --token TOKEN` "
        "and then `fedops client run --app . --task TASK`"
    )
