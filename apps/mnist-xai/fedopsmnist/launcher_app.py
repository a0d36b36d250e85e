"""Flower's ServerApp: what it is in this run is said by the run-config key ``mode``."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedops.app import run_by_mode

APP_DIR = Path(__file__).resolve().parents[1]

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    run_by_mode(grid, context, APP_DIR, "fedopsmnist.client_manager_main")
