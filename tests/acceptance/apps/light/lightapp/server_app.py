"""Flower's ServerApp: what ``mode`` of the run config says. A FedOps server does not need it."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    from fedops.flower.run_modes import run_by_mode

    run_by_mode(grid, context, Path(__file__).parents[1])
